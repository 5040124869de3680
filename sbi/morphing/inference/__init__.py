"""Using a trained morpher: rows of any container, fused kernels, friend trees, ONNX."""

from __future__ import annotations
