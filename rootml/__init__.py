"""ROOT files meet machine learning.

>>> import pyarrow as pa, pyarrow.parquet
>>> pa.parquet.write_table(pa.table({"pt": [10.0, 60.0], "eta": [0.1, 2.0]}), "events.parquet")
>>> import rootml
>>> data = rootml.open("events.parquet", label=1).filter("pt > 30 && abs(eta) < 2.5")
>>> data.scan().num_rows
1

Names and parts are imported when they are first used, so that `import rootml` itself is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rootml import errors

if TYPE_CHECKING:
    from rootml import batching, bdt, plot, sbi
    from rootml.dataset import Dataset
    from rootml.dataset._opening import open_dataset as open  # noqa: A004 - the word users know
    from rootml.evaluation import evaluate

__version__ = "0.1.0"

__all__ = [
    "Dataset",
    "__version__",
    "batching",
    "bdt",
    "errors",
    "evaluate",
    "open",
    "plot",
    "sbi",
]

_NAMES = {
    "Dataset": ("rootml.dataset", "Dataset"),
    "evaluate": ("rootml.evaluation", "evaluate"),
    "open": ("rootml.dataset._opening", "open_dataset"),
}
_MODULES = frozenset(
    {
        "analysis",
        "batching",
        "bdt",
        "dataset",
        "evaluation",
        "expressions",
        "plot",
        "sbi",
        "storage",
        "toml",
    }
)


def __getattr__(name: str) -> Any:  # a class, a function or a module
    if name in _MODULES:
        return importlib.import_module(f"rootml.{name}")
    if name in _NAMES:
        module, attribute = _NAMES[name]
        found = globals()[name] = getattr(importlib.import_module(module), attribute)
        return found
    message = f"module 'rootml' has no attribute {name!r}"
    if not name.startswith("__"):
        message += f"; nearest: {errors.nearest(name, __all__, limit=3)}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES, *_MODULES})
