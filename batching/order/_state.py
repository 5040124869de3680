"""The state of a loader: where an epoch stands, as plain JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from rootml.batching.order._plan import Mode, Segment, Sharing
from rootml.batching.order._rng import sampler_digest
from rootml.errors import StateError

if TYPE_CHECKING:
    from rootml.batching.rows._epoch_source import EpochSource

FORMAT = "rootml.batching.state"
VERSION = 1


@dataclass
class Progress:
    """How far one iteration is.

    Attributes:
        history: Parts of the epoch that were delivered under another sharing.
        batches: Batches that the rank has delivered under this sharing, earlier sessions included.
        start: How many of these were delivered before the iteration began.
        done: The epoch is complete.
    """

    epoch: int
    mode: Mode
    sharing: Sharing
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
        return (*self.history, Segment(self.sharing, batches)) if batches else self.history


@dataclass(frozen=True, slots=True)
class Rest:
    """The part of an epoch that a loaded state left over."""

    epoch: int
    mode: Mode
    segments: tuple[Segment, ...]


def write_state(
    epochs: EpochSource,
    latest: Progress | None,
    next_epoch: int,
    rest: Rest | None,
) -> dict[str, Any]:
    """The state as JSON values."""
    segments: tuple[Segment, ...] = ()
    epoch, mode = next_epoch, epochs.mode(1)
    if latest is not None and not latest.done:
        epoch, mode, segments = latest.epoch, latest.mode, latest.segments
    elif rest is not None:
        mode, segments = rest.mode, rest.segments
    return {
        "format": FORMAT,
        "version": VERSION,
        "seed": epochs.options.seed,
        "epoch": epoch,
        "mode": mode,
        "segments": [segment.to_json() for segment in segments],
        "shards": epochs.spill_shards if mode == "disk" else None,
        "fingerprint": epochs.fingerprint,
        "resample": repr(epochs.options.resample),
        "sampler": sampler_digest(),
    }


def read_state(
    epochs: EpochSource, state: Any
) -> tuple[int, Mode, tuple[Segment, ...], int | None]:
    """Epoch, mode, delivered segments and number of shards of a state that fits this loader.

    Raises:
        StateError: It does not fit; says in what.
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
    _agree(state, "seed", epochs.options.seed, "the seed")
    _agree(state, "resample", repr(epochs.options.resample), "the resampling")
    _agree(state, "fingerprint", epochs.fingerprint, "the data, the selection or unit_bytes")
    _agree(state, "sampler", sampler_digest(), "NumPy's samplers (another NumPy version)")
    mode: Any = state.get("mode")
    if mode not in get_args(Mode) or not isinstance(state.get("epoch"), int):
        message = f"a damaged loader state: mode {mode!r}, epoch {state.get('epoch')!r}"
        raise StateError(message)
    segments = tuple(Segment.from_json(values) for values in state.get("segments", ()))
    if segments:
        _allowed(epochs, mode)
    return state["epoch"], mode, segments, state.get("shards")


def _agree(state: Mapping[str, Any], key: str, mine: Any, what: str) -> None:
    if state.get(key) != mine:
        message = (
            f"the state was saved with another value of {what}: {state.get(key)!r}, here {mine!r}"
        )
        raise StateError(message)


def _allowed(epochs: EpochSource, mode: Mode) -> None:
    """An epoch is finished in the mode in which it was begun."""
    options = epochs.options
    if (mode == "sequential") == options.shuffle:
        message = f"the state was saved in mode {mode!r}, here shuffle={options.shuffle}"
        raise StateError(message)
    if mode == "disk" and options.cache is None:
        message = "the state was saved in mode 'disk': give cache=folder to go on with it"
        raise StateError(message)
    if mode == "resident" and epochs.resident_bytes > options.buffer_bytes:
        message = (
            f"the state was saved in mode 'resident', which needs buffer_bytes of at least "
            f"{epochs.resident_bytes}; here {options.buffer_bytes}"
        )
        raise StateError(message)
