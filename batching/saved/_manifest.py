"""What was saved: a JSON file beside the parts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rootml._internal.atomic import atomic_path
from rootml.batching.inputs._batch import BatchSpec, InputSpec
from rootml.batching.inputs._cast import float_dtype
from rootml.errors import MissingFileError, StateError

FILE, FORMAT, VERSION = "manifest.json", "rootml.batching.saved", 1


@dataclass(frozen=True, slots=True)
class Part:
    """One file: its batches, and its size in bytes when it was written."""

    file: str
    sizes: tuple[int, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was saved so far.

    Attributes:
        key: Identifies the data, the selection, the order, and what a batch holds.
        storage: Name of the format of the parts.
        state: State of the loader after the last part.
        complete: Whether the epoch is.
    """

    key: dict[str, Any]
    storage: str
    dataset: str
    spec: BatchSpec
    parts: tuple[Part, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)
    complete: bool = False

    def with_part(self, part: Part, state: dict[str, Any]) -> Manifest:
        """With one more part."""
        return replace(self, parts=(*self.parts, part), state=state)

    def write(self, folder: Path) -> None:
        """Write to the folder, whole or not at all."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "key": self.key,
            "storage": self.storage,
            "dataset": self.dataset,
            "spec": _spec_to_json(self.spec),
            "parts": [asdict(part) for part in self.parts],
            "state": self.state,
            "complete": self.complete,
        }
        with atomic_path(folder / FILE) as path:
            path.write_text(json.dumps(content, indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read what `write` wrote.

        Raises:
            MissingFileError: Nothing was saved there.
            StateError: Not such a file, or of another version.
        """
        path = folder / FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT or content["version"] != VERSION:
                message = f"{path}: not saved by this version of rootml: {content['version']!r}"
                raise StateError(message)
            parts = [
                Part(str(p["file"]), tuple(int(n) for n in p["sizes"]), int(p["bytes"]))
                for p in content["parts"]
            ]
            return cls(
                content["key"],
                str(content["storage"]),
                str(content["dataset"]),
                _spec_from_json(content["spec"]),
                tuple(parts),
                content["state"],
                bool(content["complete"]),
            )
        except FileNotFoundError:
            message = f"{str(folder)!r} holds no saved batches: there is no {FILE}"
            raise MissingFileError(message) from None
        except StateError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            message = f"{path}: damaged: {error!r}"
            raise StateError(message) from error


def _spec_to_json(spec: BatchSpec) -> dict[str, Any]:
    def item(each: InputSpec) -> dict[str, Any]:
        return {**asdict(each), "dtype": each.dtype.name}

    lists = spec.target_list
    return {
        "inputs": [item(each) for each in spec.inputs],
        "single": spec.single,
        "targets": spec.targets,
        "y_dtype": spec.y_dtype.name,
        "y_width": spec.y_width,
        "has_weight": spec.has_weight,
        "w_dtype": spec.w_dtype.name,
        "batch_size": spec.batch_size,
        "drop_last": spec.drop_last,
        "observers": {name: dtype.str for name, dtype in spec.observers.items()},
        "observer_shapes": {name: list(s) for name, s in spec.observer_shapes.items()},
        "target_names": spec.target_names,
        "target_list": None if lists is None else item(lists),
        "observed_lists": [item(each) for each in spec.observed_lists],
    }


def _spec_from_json(values: Mapping[str, Any]) -> BatchSpec:
    def dtype(name: str) -> np.dtype[Any]:
        return float_dtype(name) if name == "bfloat16" else np.dtype(name)

    def item(each: Mapping[str, Any]) -> InputSpec:
        kind, length = each["kind"], each["length"]
        features = tuple(str(name) for name in each["features"])
        return InputSpec(str(each["name"]), kind, features, length, dtype(each["dtype"]))

    lists = values["target_list"]
    targets = values["targets"]
    return BatchSpec(
        inputs=tuple(item(each) for each in values["inputs"]),
        single=bool(values["single"]),
        targets=None if targets is None else tuple(targets),
        y_dtype=dtype(values["y_dtype"]),
        y_width=values["y_width"],
        has_weight=bool(values["has_weight"]),
        w_dtype=dtype(values["w_dtype"]),
        batch_size=int(values["batch_size"]),
        drop_last=bool(values["drop_last"]),
        observers={name: np.dtype(text) for name, text in values["observers"].items()},
        observer_shapes={name: tuple(s) for name, s in values["observer_shapes"].items()},
        target_names=tuple(values["target_names"]),
        target_list=None if lists is None else item(lists),
        observed_lists=tuple(item(each) for each in values["observed_lists"]),
    )
