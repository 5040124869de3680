"""From a pyhf workspace to binned channels. The workspace is data: checked, never run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rootml._internal.types import Float
from rootml.errors import SchemaError, nearest
from rootml.sbi.likelihood._binned_samples import Modifier, Sample, check_counts
from rootml.sbi.likelihood._parameters import Nuisance, Parameter


class Workspace(NamedTuple):
    """What a pyhf workspace says; see the attributes of `Binned`."""

    observed: dict[str, Float]
    samples: tuple[Sample, ...]
    parameters: dict[str, Parameter | Nuisance]
    poi: str | None
    workspace: dict[str, Any]


def read_workspace(workspace: Mapping[str, Any], measurement: str | None) -> Workspace:
    """Read a workspace; see `Binned.from_pyhf`."""
    for key in ("channels", "observations", "measurements"):
        if not isinstance(workspace.get(key), list) or not workspace[key]:
            message = f"a pyhf workspace has a list {key!r}; this has {sorted(workspace)}"
            raise SchemaError(message)
    chosen = _measurement(workspace, measurement)
    config = chosen["config"]
    reader = _Reader({p["name"]: p for p in config.get("parameters", [])})
    samples = [
        reader.sample(channel["name"], sample)
        for channel in workspace["channels"]
        for sample in channel["samples"]
    ]
    reader.close()
    counts = {o["name"]: check_counts(o["data"], o["name"]) for o in workspace["observations"]}
    observed = {}
    for channel in workspace["channels"]:
        name = channel["name"]
        if name not in counts:
            message = f"no observation of channel {name!r}; available: {nearest(name, counts)}"
            raise SchemaError(message)
        bins = {len(s.nominal) for s in samples if s.channel == name}
        if bins != {len(counts[name])}:
            message = (
                f"channel {name!r}: {len(counts[name])} bins observed, samples have {sorted(bins)}"
            )
            raise SchemaError(message)
        observed[name] = counts[name]
    kept = {**workspace, "measurements": [chosen]}
    return Workspace(observed, tuple(samples), reader.parameters, config.get("poi"), kept)


def _measurement(workspace: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    known = {m["name"]: m for m in workspace["measurements"]}
    if name is None:
        name = next(iter(known))
    if name not in known:
        message = f"no measurement {name!r}; available: {nearest(name, known)}"
        raise SchemaError(message)
    found: Mapping[str, Any] = known[name]
    return found


class _Reader:
    """Reads samples, and collects the parameters that their modifiers bring."""

    def __init__(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        self.settings = settings
        self.parameters: dict[str, Parameter | Nuisance] = {}
        self._kinds: dict[str, str] = {}
        self._staterror: dict[str, tuple[str, Float, Float]] = {}
        self._where = ""

    def sample(self, channel: str, given: Mapping[str, Any]) -> Sample:
        """One sample with its modifiers."""
        self._where = f"channel {channel!r}, sample {given.get('name')!r}"
        nominal = self._array(given["data"])
        modifiers = [
            self._modifier(modifier, nominal, channel) for modifier in given.get("modifiers", [])
        ]
        return Sample(channel, given["name"], nominal, tuple(modifiers))

    def _array(self, given: Any, bins: int | None = None) -> Float:
        array = np.asarray(given, np.float64)
        if array.ndim != 1 or not np.isfinite(array).all() or len(array) != (bins or len(array)):
            message = f"{self._where}: {given!r} is not a number for each of {bins} bins"
            raise SchemaError(message)
        return array

    def _modifier(self, given: Mapping[str, Any], nominal: Float, channel: str) -> Modifier:
        name, kind, data = given["name"], given["type"], given.get("data")
        before = self._kinds.setdefault(name, _family(kind))
        if before != _family(kind):
            message = f"{self._where}: {name!r} is a {kind} here and a {before} elsewhere"
            raise SchemaError(message)
        if kind == "normfactor":
            self._add(name, Parameter(1.0, 0.0, 10.0))
            return Modifier("factor", (name,))
        if kind == "lumi":
            self._add(name, self._lumi(name))
            return Modifier("factor", (name,))
        if kind == "normsys":
            self._add(name, Nuisance(lower=-5.0, upper=5.0))
            ends = self._data(data, "hi", "lo")
            return Modifier("effect", (name,), float(ends[0]), float(ends[1]))
        if kind == "histosys":
            self._add(name, Nuisance(lower=-5.0, upper=5.0))
            ends = self._data(data, "hi_data", "lo_data")
            high, low = (self._array(end, len(nominal)) for end in ends)
            return Modifier("shape", (name,), high, low)
        names = tuple(f"{name}[{i}]" for i in range(len(nominal)))
        if kind == "shapefactor":
            for each in names:
                self._add(each, Parameter(1.0, 0.0, 10.0))
        elif kind == "staterror":
            self._collect_staterror(name, channel, nominal, self._array(data, len(nominal)))
        elif kind == "shapesys":
            self._shapesys(names, nominal, self._array(data, len(nominal)))
        else:
            message = f"{self._where}: the modifier {name!r} is of the unknown type {kind!r}"
            raise SchemaError(message)
        return Modifier("factor", names)

    def _data(self, data: Any, high: str, low: str) -> tuple[Any, Any]:
        if not isinstance(data, Mapping) or not {high, low} <= set(data):
            message = f"{self._where}: a modifier has {data!r} where {high!r} and {low!r} are due"
            raise SchemaError(message)
        return data[high], data[low]

    def _add(self, name: str, parameter: Parameter | Nuisance) -> None:
        self.parameters.setdefault(name, self._set(name, parameter))

    def _set(self, name: str, parameter: Parameter | Nuisance) -> Parameter | Nuisance:
        """The parameter with what the measurement says about it."""
        base, _, index = name.removesuffix("]").partition("[")
        given = self.settings.get(base, {})
        component = int(index) if index else 0
        changes: dict[str, Any] = {}
        if "inits" in given:
            changes["value"] = float(given["inits"][component])
        if "bounds" in given:
            low, high = given["bounds"][component]
            changes |= {"lower": float(low), "upper": float(high)}
        if "fixed" in given:
            changes["fixed"] = bool(given["fixed"])
        if isinstance(parameter, Nuisance):
            changes |= self._measured(parameter, given, component)
        facts = {key: getattr(parameter, key) for key in parameter.__dataclass_fields__}
        return type(parameter)(**(facts | changes))

    @staticmethod
    def _measured(parameter: Nuisance, given: Mapping[str, Any], component: int) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        if "auxdata" in given:
            changes["observed"] = float(given["auxdata"][component])
        if "sigmas" in given and parameter.constraint == "gaussian":
            changes["width"] = float(given["sigmas"][component])
        return changes

    def _lumi(self, name: str) -> Nuisance:
        given = self.settings.get(name, {})
        if not {"auxdata", "sigmas"} <= set(given):
            message = f"the measurement has no auxdata and sigmas for the lumi modifier {name!r}"
            raise SchemaError(message)
        value = float(given["auxdata"][0])
        return Nuisance(value=value, width=float(given["sigmas"][0]), lower=0.0)

    def _collect_staterror(
        self, name: str, channel: str, nominal: Float, uncertainty: Float
    ) -> None:
        where, total, squares = self._staterror.get(
            name, (channel, np.zeros_like(nominal), np.zeros_like(nominal))
        )
        if where != channel:
            message = f"the staterror {name!r} is in the channels {where!r} and {channel!r}"
            raise SchemaError(message)
        self._staterror[name] = (channel, total + nominal, squares + uncertainty**2)
        for i in range(len(nominal)):  # keeps the place; `close` fills in the width
            self.parameters.setdefault(f"{name}[{i}]", Parameter(1.0))

    def close(self) -> None:
        """Make the parameters of staterrors, which need all samples of a channel."""
        for name, (_, total, squares) in self._staterror.items():
            for i in range(len(total)):
                each = f"{name}[{i}]"
                width = np.sqrt(squares[i]) / total[i] if total[i] > 0.0 else 0.0
                self.parameters[each] = self._set(each, _gamma("gaussian", float(width)))

    def _shapesys(self, names: tuple[str, ...], nominal: Float, uncertainty: Float) -> None:
        for each, count, sigma in zip(names, nominal, uncertainty, strict=True):
            if each in self.parameters:
                message = f"{self._where}: the shapesys {each!r} is used twice"
                raise SchemaError(message)
            size = (count / sigma) ** 2 if sigma > 0.0 else 0.0
            self._add(each, _gamma("poisson", float(size)))


def _gamma(constraint: Any, width: float) -> Nuisance:
    """A factor of one bin; without an uncertainty it stays at 1."""
    free = width == 0.0
    return Nuisance(
        "none" if free else constraint,
        value=1.0,
        width=1.0 if free else width,
        lower=1e-10,
        upper=10.0,
        fixed=free,
    )


def _family(kind: str) -> str:
    """Modifiers that may share a parameter."""
    return "normsys or histosys" if kind in {"normsys", "histosys"} else kind
