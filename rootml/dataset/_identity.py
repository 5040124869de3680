"""What tells one dataset from another: files, selection, label and weight, columns."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from typing import Any

from rootml.dataset._reader import Reader
from rootml.dataset._splits import Split
from rootml.storage import Fingerprint


def selection_key(reader: Reader) -> str:
    """Identity of the selected events with label and weight; opens all files."""
    return _digest(
        [
            [
                [[*_identity(info.prints), info.tree] for info in program.sample.files.infos()],
                [repr(cut) for cut in program.sample.cuts if isinstance(cut, Split)],
                program.signature([*program.cut_expressions, program.label, program.weight]),
                [cut is None for cut in program.cuts],
                [program.sample.constant_label, _constant(program.sample.weight)],
                repr((program.sample.normalisation, program.sample.entry_range)),
            ]
            for program in reader.programs()
        ]
    )


def dataset_fingerprint(reader: Reader) -> str:
    """Identity of files, selection, label, weight and columns; opens all files."""
    return _digest(
        [selection_key(reader), reader.columns]
        + [
            program.signature([program.outputs[name] for name in reader.columns])
            for program in reader.programs()
        ]
    )


def _constant(value: Any) -> Any:
    return None if isinstance(value, str) else value


def _identity(prints: Iterable[tuple[str, Fingerprint]]) -> list[Any]:
    """A UUID tells a file wherever it lies; without one its time has to do."""
    return [
        [os.path.basename(path), mark.size, mark.uuid or mark.modified]  # noqa: PTH119 - or a URL
        for path, mark in prints
    ]


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
