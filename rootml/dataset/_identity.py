"""What tells one dataset from another: files, selection, label and weight, columns."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from typing import Any

from rootml.dataset._reader import Reader
from rootml.dataset._splits import Split
from rootml.files import Files
from rootml.storage import Fingerprint


def selection_key(reader: Reader) -> str:
    """Identity of the selected events with label and weight; opens all files."""
    return _digest(
        [
            [
                [
                    [*_identity(info.fingerprints), info.tree]
                    for info in resolved.sample.files.infos()
                ],
                *_matching(resolved.sample.files),
                [repr(cut) for cut in resolved.sample.cuts if isinstance(cut, Split)],
                resolved.signature([*resolved.cut_expressions, resolved.label, resolved.weight]),
                [cut is None for cut in resolved.cuts],
                [resolved.sample.constant_label, _constant(resolved.sample.weight)],
                repr((resolved.sample.normalisation, resolved.sample.entry_range)),
            ]
            for resolved in reader.resolved_samples()
        ]
    )


def dataset_fingerprint(reader: Reader) -> str:
    """Identity of files, selection, label, weight and columns; opens all files."""
    return _digest(
        [selection_key(reader), reader.columns]
        + [
            resolved.signature([resolved.outputs[name] for name in reader.columns])
            for resolved in reader.resolved_samples()
        ]
    )


def _matching(files: Files) -> list[Any]:
    """How friends are matched; nothing where they are not."""
    matched = files.specs[0].matched if files.specs else ()
    return [[each.alias, each.by, each.unmatched] for each in matched]


def _constant(value: Any) -> Any:
    return None if isinstance(value, str) else value


def _identity(fingerprints: Iterable[tuple[str, Fingerprint]]) -> list[Any]:
    """A UUID tells a file wherever it lies; without one its time has to do."""
    return [
        [os.path.basename(path), fingerprint.size, fingerprint.uuid or fingerprint.modified]  # noqa: PTH119 - or a URL
        for path, fingerprint in fingerprints
    ]


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
