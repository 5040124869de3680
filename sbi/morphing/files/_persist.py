"""Keeps a fitted morpher in one file (`_save` is its form); all is checked on reading."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rootml.errors import StateError, UsageError
from rootml.sbi.morphing._settings import Settings
from rootml.sbi.morphing._uncertainty_band import Band
from rootml.sbi.morphing.files._generator_model import GeneratorModel
from rootml.sbi.morphing.files._model import OUTSIDE_CHOICES, Member, Morph, Outside
from rootml.sbi.morphing.files._save import read_file, write_file
from rootml.sbi.morphing.flow._flow import FlowFactory, FlowSpec, UserFlow
from rootml.sbi.morphing.flow._leaves import State
from rootml.sbi.morphing.flow._training import LossRecord, ScheduleOptions
from rootml.sbi.morphing.inference._rows import Names
from rootml.sbi.morphing.preprocessing._limits import Limits
from rootml.sbi.morphing.preprocessing._preprocess import Conditions, Gaussianiser, part
from rootml.sbi.morphing.reweighting._reweight import METHODS, Kinematics
from rootml.sbi.morphing.validation._training_events import Sketch

KIND = "rootml morpher"
VERSION = 2


def save(settings: Settings, morph: Morph, path: Path) -> None:
    """See `Morpher.save`."""
    content = {
        "version": VERSION,
        **_settings_content(settings),
        "spec": None if morph.spec is None else dataclasses.asdict(morph.spec),
        "kinematics": morph.kinematics.to_json(),
        "histories": [[list(check) for check in member.history] for member in morph.members],
        "info": morph.info,
        "trained on": {domain: sketch.unique for domain, sketch in morph.trained_on.items()},
    }
    arrays = {f"conditions.{name}": each for name, each in morph.conditions.arrays().items()}
    arrays |= {f"kinematics.{name}": each for name, each in morph.kinematics.arrays().items()}
    arrays |= {f"events.{domain}": each.hashes for domain, each in morph.trained_on.items()}
    if morph.band is not None:
        arrays |= {f"band.{name}": each for name, each in morph.band.arrays().items()}
    for number, member in enumerate(morph.members):
        groups = {"sim": member.sim.arrays(), "data": member.data.arrays(), "flow": member.state}
        for group, found in groups.items():
            arrays |= {f"{number}.{group}.{name}": each for name, each in found.items()}
    write_file(path, KIND, content, arrays)


GENERATOR = "rootml generator"


def save_generator(settings: Settings, model: GeneratorModel, path: Path) -> None:
    """See `Generator.save`."""
    content = {
        "version": VERSION,
        **_settings_content(settings),
        "spec": dataclasses.asdict(model.spec),
        "history": [list(check) for check in model.history],
        "info": model.info,
    }
    groups = {
        "conditions": model.conditions.arrays(),
        "tables": model.tables.arrays(),
        "flow": model.state,
    }
    arrays = {f"{group}.{n}": each for group, found in groups.items() for n, each in found.items()}
    write_file(path, GENERATOR, content, arrays)


def load_generator(
    path: Path, *, compiled: bool, device: str | None = None
) -> tuple[Settings, GeneratorModel]:
    """See `Generator.load`."""
    content, arrays = read_file(path, GENERATOR)
    with _reading(content, path) as where:
        settings = _settings(content, flow=None, compiled=compiled, device=device)
        names = settings.names
        conditions = Conditions.from_arrays(part(arrays, "conditions."), names.conditions, where)
        tables = Gaussianiser.from_arrays(part(arrays, "tables."), len(names.features), where)
        spec = _spec(content["spec"], len(names.features), conditions.columns, where)
        state = part(arrays, "flow.")
        _check_state(settings, spec, state, conditions.columns, where)
        history = tuple(LossRecord(int(s), float(t), float(v)) for s, t, v in content["history"])
        return settings, GeneratorModel(
            names,
            conditions,
            tables,
            state,
            spec,
            compiled,
            history,
            dict(content["info"]),
            device,
        )


@contextmanager
def _reading(content: Mapping[str, Any], path: Path) -> Iterator[str]:
    """Give what is missing in a file as our error; yields how the file is called."""
    where = f"{str(path)!r}"
    if content.get("version") != VERSION:
        message = f"{where}: version {content.get('version')!r}, this rootml reads {VERSION}"
        raise StateError(message)
    try:
        yield where
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, (StateError, UsageError)):
            raise
        message = f"{where}: not a complete morpher or generator: {error!r}"
        raise StateError(message) from error


def _settings_content(settings: Settings) -> dict[str, Any]:
    """Settings as JSON; the reverse of `_settings`."""
    return {
        "names": {name: list(getattr(settings.names, name)) for name in _GROUPS},
        "bounds": {
            name: [limits.low, limits.high, *limits.sentinels]
            for name, limits in settings.bounds.items()
        },
        "settings": {name: getattr(settings, name) for name in _PLAIN}
        | {"hidden": list(settings.hidden), "schedule": dataclasses.asdict(settings.schedule)},
    }


_GROUPS = ("features", "conditions", "ids")
_PLAIN = ("layers", "bins", "ensemble", "reweight", "validation", "max_rows", "seed", "outside")


def load(
    path: Path, *, flow: FlowFactory | None, compiled: bool, device: str | None = None
) -> tuple[Settings, Morph]:
    """See `Morpher.load`."""
    content, arrays = read_file(path, KIND)
    with _reading(content, path) as where:
        settings = _settings(content, flow=flow, compiled=compiled, device=device)
        return settings, _morph(settings, content, arrays, where)


def _settings(
    content: Mapping[str, Any], *, flow: Any, compiled: bool, device: str | None
) -> Settings:
    given = content["settings"]
    groups = [tuple(str(name) for name in content["names"][group]) for group in _GROUPS]
    if given["reweight"] not in METHODS:
        message = f"an unknown kind of reweighting: {given['reweight']!r}"
        raise StateError(message)
    return Settings(
        names=Names(*groups),
        layers=int(given["layers"]),
        hidden=tuple(int(width) for width in given["hidden"]),
        bins=int(given["bins"]),
        ensemble=int(given["ensemble"]),
        reweight=given["reweight"],
        schedule=ScheduleOptions(**given["schedule"]),
        validation=float(given["validation"]),
        max_rows=int(given["max_rows"]),
        seed=int(given["seed"]),
        compiled=compiled,
        flow=flow,
        bounds={
            name: Limits(float(low), float(high), tuple(map(float, sentinels)), stated=True)
            for name, (low, high, *sentinels) in content["bounds"].items()
        },
        outside=_outside(given["outside"]),
        device=device,
    )


def _outside(value: Any) -> Outside:
    if value not in OUTSIDE_CHOICES:
        message = f"an unknown choice for features outside of the range: {value!r}"
        raise StateError(message)
    found: Outside = value
    return found


def _morph(
    settings: Settings, content: Mapping[str, Any], arrays: Mapping[str, Any], where: str
) -> Morph:
    names = settings.names
    conditions = Conditions.from_arrays(part(arrays, "conditions."), names.conditions, where)
    spec = None
    if content["spec"] is not None:
        spec = _spec(content["spec"], len(names.features), conditions.columns, where)
    elif settings.flow is None:
        message = f"{where} holds the parameters of a flow that was given; load it with flow=..."
        raise UsageError(message)
    members = []
    for number, history in enumerate(content["histories"]):
        found = part(arrays, f"{number}.")
        sim, data = (
            Gaussianiser.from_arrays(part(found, f"{side}."), len(names.features), where)
            for side in ("sim", "data")
        )
        state = part(found, "flow.")
        _check_state(settings, spec, state, conditions.columns, where)
        checks = tuple(LossRecord(int(s), float(t), float(v)) for s, t, v in history)
        members.append(Member(sim, data, state, checks))
    if len(members) != settings.ensemble + 1:
        message = f"{where}: {len(members)} members for an ensemble of {settings.ensemble}"
        raise StateError(message)
    kinematics = Kinematics.from_parts(content["kinematics"], part(arrays, "kinematics."))
    info, band = dict(content["info"]), None
    if len(members) > 2:
        band = Band.from_arrays(part(arrays, "band."), len(names.features), where)
    return Morph(
        names, conditions, kinematics, tuple(members), spec, settings.seed, settings.compiled,
        None if spec is not None else settings.flow, band, info, settings.outside,
        _sketches(content, arrays), settings.device,
    )  # fmt: skip


def _sketches(content: Mapping[str, Any], arrays: Mapping[str, Any]) -> dict[str, Sketch]:
    hashes = part(arrays, "events.")
    return {
        domain: Sketch(np.asarray(hashes[domain], np.uint64), float(unique))
        for domain, unique in content["trained on"].items()
    }


def _spec(content: Mapping[str, Any], features: int, context: int, where: str) -> FlowSpec:
    """The shape of the flow, with column numbers that exist."""
    kept = tuple(tuple(int(j) for j in group) for group in content["kept"])
    hidden = tuple(int(width) for width in content["hidden"])
    spec = FlowSpec(int(content["features"]), int(content["context"]), kept, hidden,
                    int(content["bins"]))  # fmt: skip
    good = (spec.features, spec.context) == (features, context) and spec.bins >= 2
    good = good and all(0 <= j < features for group in kept for j in group)
    good = good and all(len(set(g)) == len(g) < features for g in kept)
    if not good or min(hidden, default=1) < 1:
        message = f"{where}: the shape of its flow is damaged"
        raise StateError(message)
    return spec


def _check_state(
    settings: Settings, spec: FlowSpec | None, state: State, context: int, where: str
) -> None:
    """See that the parameters fit the flow."""
    if spec is None:
        assert settings.flow is not None
        features = len(settings.names.features)
        UserFlow.make(settings.flow, features, context).load(state)
        return
    shapes = {name: each.shape for name, each in state.items()}
    if shapes != spec.shapes():
        message = f"{where}: its parameters do not fit the shape of its flow"
        raise StateError(message)
    if not all(np.isfinite(each).all() for each in state.values()):
        message = f"{where}: its flow has parameters that are NaN or infinite"
        raise StateError(message)
