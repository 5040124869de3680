"""The state of a loader: where an epoch stands, as plain JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from rootml.batching.order._plan import Mode, Segment, Sharding
from rootml.batching.order._rng import sampler_digest
from rootml.errors import StateError

FORMAT = "rootml.batching.state"
VERSION = 2


@dataclass
class Progress:
    """How far one iteration is.

    Attributes:
        history: Parts of the epoch that were delivered under another sharding.
        batches: Batches that the rank has delivered under this sharding, in earlier sessions
            too.
        start: How many of these were delivered before the iteration began.
        done: The epoch is complete.
    """

    epoch: int
    mode: Mode
    sharding: Sharding
    history: tuple[Segment, ...]
    batches: int
    start: int = 0
    done: bool = False

    @property
    def segments(self) -> tuple[Segment, ...]:
        """What was delivered so far."""
        return self._with(self.batches)

    @property
    def begun(self) -> tuple[Segment, ...]:
        """What was delivered before the iteration began."""
        return self._with(self.start)

    def _with(self, batches: int) -> tuple[Segment, ...]:
        return (*self.history, Segment(self.sharding, batches)) if batches else self.history


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a loaded state goes on in an epoch."""

    epoch: int
    mode: Mode
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class StateKey:
    """What a saved state must agree with.

    Attributes:
        fingerprint: Of the data, the selection, and its division into units.
        resident_bytes: What all rows take in memory, in mode "resident".
    """

    seed: int
    resample: str
    fingerprint: str
    shuffle: bool
    has_cache: bool
    buffer_bytes: int
    resident_bytes: int


@dataclass(frozen=True, slots=True)
class SavedState:
    """A state that was read: where the epoch stands.

    Attributes:
        spill_shards: Number of shards on disk, in mode "disk".
    """

    epoch: int
    mode: Mode
    segments: tuple[Segment, ...]
    spill_shards: int | None


def write_state(key: StateKey, state: SavedState) -> dict[str, Any]:
    """The state as JSON values."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "seed": key.seed,
        "epoch": state.epoch,
        "mode": state.mode,
        "segments": [segment.to_json() for segment in state.segments],
        "shards": state.spill_shards,
        "fingerprint": key.fingerprint,
        "resample": key.resample,
        "sampler": sampler_digest(),
    }


def read_state(key: StateKey, state: Any) -> SavedState:
    """A state that fits a loader with this key.

    Raises:
        StateError: It does not fit; the message says in what.
    """
    if not isinstance(state, Mapping):
        message = f"a loader state is a dict, as state_dict() gives it, not {state!r:.60}"
        raise StateError(message)
    if state.get("format") != FORMAT or state.get("version") != VERSION:
        message = (
            f"not a loader state of version {VERSION}: format {state.get('format')!r}, "
            f"version {state.get('version')!r}"
        )
        raise StateError(message)
    _check_equal(state, "seed", key.seed, "the seed")
    _check_equal(state, "resample", key.resample, "the resampling")
    _check_equal(state, "fingerprint", key.fingerprint, "the data, the selection or unit_bytes")
    _check_equal(state, "sampler", sampler_digest(), "NumPy's samplers (another NumPy version)")
    mode: Any = state.get("mode")
    if mode not in get_args(Mode) or not isinstance(state.get("epoch"), int):
        message = f"a damaged loader state: mode {mode!r}, epoch {state.get('epoch')!r}"
        raise StateError(message)
    segments = tuple(Segment.from_json(values) for values in state.get("segments", ()))
    if segments:
        _check_mode(key, mode)
    return SavedState(state["epoch"], mode, segments, state.get("shards"))


def _check_equal(state: Mapping[str, Any], name: str, mine: Any, what: str) -> None:
    if state.get(name) != mine:
        message = (
            f"the state was saved with another value of {what}: {state.get(name)!r}, here {mine!r}"
        )
        raise StateError(message)


def _check_mode(key: StateKey, mode: Mode) -> None:
    """An epoch must be finished in the mode in which it was begun."""
    if (mode == "sequential") == key.shuffle:
        message = f"the state was saved in mode {mode!r}, here shuffle={key.shuffle}"
        raise StateError(message)
    if mode == "disk" and not key.has_cache:
        message = "the state was saved in mode 'disk': give cache=folder to go on with it"
        raise StateError(message)
    if mode == "resident" and key.resident_bytes > key.buffer_bytes:
        message = (
            f"the state was saved in mode 'resident', which needs buffer_bytes of at least "
            f"{key.resident_bytes}; here {key.buffer_bytes}"
        )
        raise StateError(message)
