"""Every error that rootml raises on purpose.

::

    RootmlError
    ├── MissingPackageError (ImportError)       an optional package is not installed
    ├── MissingFileError (FileNotFoundError)    no such file, or a glob that matches nothing
    ├── CorruptFileError (OSError)              truncated, bit-flipped, or of another format
    ├── ChangedFileError (OSError)              a file is not the one that was scanned or opened
    ├── RemoteError (OSError)                   a server that is gone, refuses or keeps failing
    ├── MissingTreeError (KeyError)             no such tree, or several and none named
    ├── MissingColumnError (KeyError)           no such branch, field or defined column
    ├── MissingParameterError (KeyError)        a parameter that is misspelt, or has no value
    ├── UnsupportedTypeError (TypeError)        a column of a type that cannot be used here
    ├── SchemaError (ValueError)                files or samples that do not fit together
    ├── ExpressionError (ValueError)            a cut or definition that cannot be parsed or typed
    ├── MissingElementError (ValueError)        an element (``Jet_pt[0]``) that some events lack
    ├── CastError (ValueError)                  a value that would change in the dtype asked for
    ├── NonFiniteError (ValueError)             NaN or infinity where the policy is "error"
    ├── EmptySelectionError (ValueError)        nothing passes, so there is nothing to do
    ├── BufferTooSmallError (ValueError)        `buffer_bytes` cannot hold what must be open
    ├── ShardError (ValueError)                 fewer rows than ranks, or a rank out of range
    ├── DensityError (ValueError)               a total density that is not positive
    ├── ConvergenceError (RuntimeError)         a minimum that was needed and not found
    ├── ClusterError (RuntimeError)             workers that are gone or keep failing
    ├── MismatchError (RuntimeError)            another tool, asked to confirm, gives other numbers
    ├── StateError (ValueError)                 a saved state or index that belongs elsewhere
    ├── ModelError (ValueError)                 a decision forest that is damaged or inconsistent
    ├── UnsupportedModelError (ValueError)      a model of a kind that cannot be represented here
    └── UsageError (ValueError)                 an argument that makes no sense, or arguments that
                                                contradict each other
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "BufferTooSmallError",
    "CastError",
    "ChangedFileError",
    "ClusterError",
    "ConvergenceError",
    "CorruptFileError",
    "DensityError",
    "EmptySelectionError",
    "ExpressionError",
    "MismatchError",
    "MissingColumnError",
    "MissingElementError",
    "MissingFileError",
    "MissingPackageError",
    "MissingParameterError",
    "MissingTreeError",
    "ModelError",
    "NonFiniteError",
    "RemoteError",
    "RootmlError",
    "SchemaError",
    "ShardError",
    "StateError",
    "UnsupportedModelError",
    "UnsupportedTypeError",
    "UsageError",
    "located",
    "nearest",
]


class RootmlError(Exception):
    """The root of all errors that rootml raises on purpose."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0]) if self.args else ""


class MissingPackageError(RootmlError, ImportError):
    """An optional package is not installed; the message names the extra."""


class MissingFileError(RootmlError, FileNotFoundError):
    """No such file, or a pattern that matches none."""


class CorruptFileError(RootmlError, OSError):
    """A file that is truncated, damaged, or not of the format its name says."""


class ChangedFileError(RootmlError, OSError):
    """A file is not the one that was opened or scanned before."""


class RemoteError(RootmlError, OSError):
    """A server that cannot be reached, refuses, or failed at every try; says how often it was.

    Attributes:
        transient: Whether it might answer later, or to another machine: a worker of a cluster is
            asked again then.
    """

    transient: bool = False


class MissingTreeError(RootmlError, KeyError):
    """No such tree in the file, or several trees and none was named."""


class MissingColumnError(RootmlError, KeyError):
    """No such branch, field or defined column; the message lists the nearest names."""


class MissingParameterError(RootmlError, KeyError):
    """No such parameter, or a parameter without a value; the message lists the nearest names."""


class UnsupportedTypeError(RootmlError, TypeError):
    """A column whose type cannot be used for what was asked."""


class SchemaError(RootmlError, ValueError):
    """Files or samples whose columns do not fit together."""


class ExpressionError(RootmlError, ValueError):
    """An expression that cannot be parsed, or whose operands do not fit together."""


class MissingElementError(RootmlError, ValueError):
    """An element that some events do not have, where a value is needed for each event."""


class CastError(RootmlError, ValueError):
    """A value that would change in the dtype asked for."""


class NonFiniteError(RootmlError, ValueError):
    """NaN or infinity in a column whose policy is ``"error"``."""


class EmptySelectionError(RootmlError, ValueError):
    """No event passes the selection."""


class BufferTooSmallError(RootmlError, ValueError):
    """The buffer cannot hold what must be open at the same time; the message says how much."""


class ShardError(RootmlError, ValueError):
    """A rank that does not exist, or fewer rows than ranks."""


class DensityError(RootmlError, ValueError):
    """A total density that is not positive for some events; names the process and the events."""


class ConvergenceError(RootmlError, RuntimeError):
    """A minimum that a result stands on was not found; the message says how the fit ended."""


class ClusterError(RootmlError, RuntimeError):
    """A Dask cluster that lost its scheduler, or whose workers fail on something again and again.

    Errors of this hierarchy that a worker raises come back as they are.
    """


class MismatchError(RootmlError, RuntimeError):
    """Another tool that was asked to confirm a result gives other numbers than we do."""


class StateError(RootmlError, ValueError):
    """A saved state or selection index that belongs to other data or another version."""


class ModelError(RootmlError, ValueError):
    """A decision forest that is damaged or inconsistent; the message says where."""


class UnsupportedModelError(RootmlError, ValueError):
    """A model of a kind that cannot be represented here; the message names it."""


class UsageError(RootmlError, ValueError):
    """An argument that makes no sense, or arguments that contradict each other."""


def located(error: RootmlError, where: str) -> RootmlError:
    """The same error with the place `where` in front, unless its text names it already.

    >>> located(UsageError("no values"), "f.root:Events, entries 0 to 9")
    UsageError('f.root:Events, entries 0 to 9: no values')
    """
    text = str(error)
    file = where.partition(", entries")[0].rpartition(":")[0] or where
    if where in text or (file in text and "entries" in text):
        return error
    return type(error)(f"{where}: {text}")


def nearest(name: str, names: Iterable[str], *, limit: int = 8) -> str:
    """Format `names` for an error message, those most like `name` first, cut to `limit`.

    >>> nearest("Jet_p", ["MET_pt", "Jet_pt", "nJet"], limit=2)
    "'Jet_pt', 'MET_pt', ... (3 in all)"
    """
    import difflib  # here: `import rootml` does not need it

    lowered = name.lower()
    ranked = sorted(
        names,
        key=lambda other: -difflib.SequenceMatcher(None, lowered, other.lower()).ratio(),
    )
    if not ranked:
        return "(none)"
    shown = ", ".join(repr(other) for other in ranked[:limit])
    return shown if len(ranked) <= limit else f"{shown}, ... ({len(ranked)} in all)"
