"""llvmlite's builder of code, for the modules that emit it; they are imported to compile only."""

from __future__ import annotations

from typing import Any

from rootml._internal.optional import optional_import

ir: Any = optional_import("llvmlite.ir", feature="the compiled engine of rootml.bdt", extra="bdt")
