"""What is done with a likelihood: fits, scans, impacts, limits, toys, Neyman's belts.

All of it takes a `Fittable`; nothing here knows how a likelihood is computed.
"""

from __future__ import annotations
