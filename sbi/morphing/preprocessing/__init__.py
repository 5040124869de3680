"""From features as they are to Gaussian ones and back: atoms, integers, edges, marginals."""

from __future__ import annotations
