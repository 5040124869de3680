"""What the user chose for a `Morpher` or a `Generator`, checked."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rootml._internal.validators import check_choice, check_number, check_whole
from rootml.dataset import check_by, check_seed
from rootml.errors import UsageError
from rootml.sbi.morphing.files._model import OUTSIDE_CHOICES, Outside
from rootml.sbi.morphing.flow._flow import FlowFactory, pairs_meet
from rootml.sbi.morphing.flow._leaves import torch_device
from rootml.sbi.morphing.flow._training import ScheduleOptions
from rootml.sbi.morphing.inference._rows import Names
from rootml.sbi.morphing.preprocessing._limits import Bounds, check_bounds
from rootml.sbi.morphing.reweighting._reweight import METHODS, Method

Engine = Literal["auto", "compiled", "numpy"]
ENGINES: tuple[str, ...] = ("auto", "compiled", "numpy")
_LAYERS = 6


@dataclass(frozen=True)
class Settings:
    """What the user chose; see `Morpher`."""

    names: Names
    layers: int
    hidden: tuple[int, ...]
    bins: int
    ensemble: int
    reweight: Method
    schedule: ScheduleOptions
    validation: float
    max_rows: int
    seed: int
    compiled: bool
    flow: FlowFactory | None
    bounds: Bounds = field(default_factory=dict)
    outside: Outside = "keep"
    device: str | None = None


def make_settings(
    features: Sequence[str],
    conditions: Sequence[str],
    *,
    id: str | Sequence[str] | None,  # noqa: A002 - the word users know
    layers: int | None,
    hidden: Sequence[int],
    bins: int,
    steps: int | None,
    batch_size: int | None,
    learning_rate: float,
    patience: int | None,
    validation: float,
    max_rows: int,
    seed: int,
    engine: Engine,
    bounds: Mapping[str, Sequence[float | None]] | None,
    flow: FlowFactory | None = None,
    ensemble: int = 0,
    reweight: Method = "none",
    outside: Outside = "keep",
    device: str | None = None,
) -> Settings:
    """Check what was given to a `Morpher` or a `Generator`.

    Raises:
        UsageError: A value that cannot be used; names the argument.
        MissingPackageError: ``engine="compiled"`` without numba.
    """
    names = _check_names(features, conditions, id)
    for what, value, lowest in (
        ("layers", 2 if layers is None else layers, 2),
        ("bins", bins, 2),
        ("ensemble", ensemble, 0),
        ("steps", 1 if steps is None else steps, 1),
        ("batch_size", 2 if batch_size is None else batch_size, 2),
        ("patience", 1 if patience is None else patience, 1),
        ("max_rows", max_rows, 1),
    ):
        check_whole(what, value, minimum=lowest)
    for width in hidden:
        check_whole("hidden", width, minimum=1)
    check_choice("reweight", reweight, METHODS)
    check_choice("engine", engine, ENGINES)
    check_choice("outside", outside, OUTSIDE_CHOICES)
    check_number("learning_rate", learning_rate, above=0)
    if not 0 < check_number("validation", validation) < 1:
        message = f"validation={validation}: expected a fraction between 0 and 1"
        raise UsageError(message)
    _check_flow(flow)
    return Settings(
        names=names,
        layers=max(_LAYERS, pairs_meet(len(names.features))) if layers is None else layers,
        hidden=tuple(hidden),
        bins=bins,
        ensemble=ensemble,
        reweight=reweight,
        schedule=ScheduleOptions(steps, batch_size, learning_rate, patience),
        validation=validation,
        max_rows=max_rows,
        seed=check_seed(seed),
        compiled=use_compiled(engine),
        flow=flow,
        bounds=check_bounds(bounds, names.features),
        outside=outside,
        device=check_device(device),
    )


def check_device(device: str | None) -> str | None:
    """The name of a device of torch that is there, or None.

    Raises:
        UsageError: No such device.
        MissingPackageError: torch is not installed.
    """
    if device is not None:
        torch_device(device)
    return device


def use_compiled(engine: Engine) -> bool:
    """Whether splines run compiled.

    Raises:
        MissingPackageError: ``"compiled"`` without numba.
    """
    if engine == "numpy":
        return False
    if engine == "auto" and importlib.util.find_spec("numba") is None:
        return False
    from rootml.sbi.morphing.flow import _compiled_spline  # noqa: F401 - or say what is missing

    return True


def _check_names(features: Any, conditions: Any, ids: Any) -> Names:
    groups = []
    for what, given in (("features", features), ("conditions", conditions)):
        names = (given,) if isinstance(given, str) else tuple(given)
        if not names or not all(isinstance(name, str) and name for name in names):
            message = f"{what}={given!r}: give at least one name of a column"
            raise UsageError(message)
        groups.append(names)
    every = [*groups[0], *groups[1]]
    twice = sorted({name for name in every if every.count(name) > 1})
    if twice:
        message = f"{twice[0]!r} is named twice among features and conditions"
        raise UsageError(message)
    found = check_by(ids) or ()
    changed = sorted(set(found) & set(groups[0]))
    if changed:
        message = f"id={ids!r}: {changed[0]!r} is a feature, which changes"
        raise UsageError(message)
    return Names(groups[0], groups[1], found)


def _check_flow(flow: Any) -> None:
    if flow is not None and not callable(flow):
        message = f"flow= is a function (features, context) -> zuko flow, not {flow!r}"
        raise UsageError(message)
