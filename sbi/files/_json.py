"""A model, or a likelihood with its events, as one JSON file with the columns beside it.

The spelling is that of HS3 (HEP Statistics Serialization Standard) for domains, parameter points,
distributions of constraints and likelihoods; the mixture itself has the type
``rootml:ratio_mixture``, columns of events ``rootml:columns``, and binned channels are a pyhf
workspace under ``rootml:pyhf_workspace``. Files beside it are bound by their sha256.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rootml._internal.atomic import atomic_path, check_target
from rootml._internal.provenance import KEY as PROVENANCE
from rootml._internal.provenance import stamp
from rootml.errors import CorruptFileError, MissingFileError, RootmlError, UsageError
from rootml.sbi.files._hs3 import save_hs3
from rootml.sbi.inference._samples import SampleShifts, ShiftedLikelihood
from rootml.sbi.likelihood._binned import Binned
from rootml.sbi.likelihood._columns import RatioColumns
from rootml.sbi.likelihood._columns_files import (
    beside,
    check_sha256,
    file_sha256,
    read_columns,
    write_columns,
)
from rootml.sbi.likelihood._combined import CombinedLikelihood
from rootml.sbi.likelihood._fittable import Fittable
from rootml.sbi.likelihood._likelihood import Likelihood, build
from rootml.sbi.likelihood._model import Model
from rootml.sbi.likelihood._parameters import Nuisance, Parameter

_MIXTURE, _COLUMNS, _WORKSPACE = "rootml:ratio_mixture", "rootml:columns", "rootml:pyhf_workspace"
_VERSION = "0.2"
_PART = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Saved:
    """What a model file holds.

    Attributes:
        model: The model.
        data: Columns by name: ``observed`` and ``reference``, if there are any.
        observed: Outcomes of auxiliary measurements.
        attachments: Other files that it is bound to, by name.
        shifts: Those of a `ShiftedLikelihood`, and the prefix of its parameters.
    """

    model: Model
    data: dict[str, RatioColumns]
    observed: dict[str, float]
    attachments: dict[str, Path]
    shifts: tuple[SampleShifts, str] | None = None

    def likelihood(self, engine: str) -> Likelihood:
        """The likelihood of the events."""
        like = build(
            self.model, self.data.get("observed"), reference=self.data.get("reference"),
            engine=engine, observed=self.observed,
        )  # fmt: skip
        if self.shifts is None:
            return like
        shifts, prefix = self.shifts
        return ShiftedLikelihood(like, shifts, prefix=prefix)


def save(
    what: Model | Fittable,
    path: str | Path,
    *,
    format: str = "npz",  # noqa: A002 - the word of Dataset.skim
    attachments: Mapping[str, str | Path] | None = None,
) -> Path:
    """Save a model, or a likelihood with its events.

    The file says who made it: `rootml.analysis.provenance` reads that.

    Args:
        what: A `Model`, `Likelihood`, `ShiftedLikelihood`, or `CombinedLikelihood` of these, each
            part of which goes to a model file ``<stem>.<part>.json`` of its own.
        path: The JSON file; columns go to ``<stem>.observed.npz`` and ``<stem>.reference.npz``
            beside it.
        format: Of the columns: ``"npz"``, ``"parquet"`` or ``"root"``. Or ``"hs3"``: a likelihood
            of binned channels in the HEP Statistics Serialization Standard, for pyhs3 and for
            ROOT's RooJSONFactoryWSTool. `load` does not read that.
        attachments: Other files in the same folder to bind by checksum, e.g. the ONNX file of a
            ratio estimator, by a name of yours.

    Returns:
        The JSON file.

    Raises:
        MissingFileError: There is no such folder, or an attachment is not there.
        UsageError: Another likelihood, or no such format; with ``"hs3"`` also what HS3 cannot
            say, e.g. learned ratios: the message names it.

    >>> from rootml.sbi import Model, Parameter
    >>> model = Model({"S": "mu * 3", "B": "7"}, {"mu": Parameter(1.0, lower=0.0)})
    >>> like = model.likelihood({"S": [2.0, 0.5], "B": [1.0, 1.0]})
    >>> load(save(like, "model.json"))(mu=2.0) == like(mu=2.0)
    True
    """
    path = check_target(path)
    if format == "hs3":
        if attachments:
            message = "attachments= are of our own format: HS3 has no place for them"
            raise UsageError(message)
        return save_hs3(what, path)
    if isinstance(what, CombinedLikelihood):
        return _save_parts(what, path, format, attachments or {})
    shifts = None
    if isinstance(what, ShiftedLikelihood):
        shifts, what = {"prefix": what.prefix, **what.shifts.to_json()}, what.base
    if type(what) not in {Model, Likelihood}:
        message = (
            f"a {type(what).__name__} cannot be saved as a model file; of a RatioLikelihood, save "
            "its .ratios"
        )
        raise UsageError(message)
    like = what if isinstance(what, Likelihood) else None
    model = what.model if isinstance(what, Likelihood) else what
    assert isinstance(model, Model)
    data = {}
    if like is not None and like.columns is not None:
        data["observed"] = like.columns
        if like.reference is not None:
            data["reference"] = like.reference
    observed = None if like is None else like.observed
    return write(
        path, model, data, observed=observed, kind=format, attachments=attachments or {},
        shifts=shifts,
    )  # fmt: skip


def _save_parts(
    like: CombinedLikelihood, path: Path, kind: str, attachments: Mapping[str, str | Path]
) -> Path:
    """One model file per part, bound by a file that names them."""
    files = {}
    for name, part in like.parts.items():
        if not _PART.fullmatch(name):
            message = f"part {name!r}: a name that becomes part of a file's is of A-Z a-z 0-9 _ -"
            raise UsageError(message)
        files[name] = save(part, path.with_name(f"{path.stem}.{name}.json"), format=kind)
    document = {
        "metadata": _metadata(),
        "misc": {
            "rootml": {
                PROVENANCE: stamp(),
                "combined": _attach(path.parent, files),
                "attachments": _attach(path.parent, attachments),
            }
        },
    }
    return _put(path, document)


def load(path: str | Path, *, engine: str = "auto") -> Any:  # callers know what they saved
    """Load what `save` wrote: a likelihood if it was saved with events or only binned channels,
    else a `Model`.

    Raises:
        MissingFileError: The file, or one beside it, is missing.
        ChangedFileError: A file beside it is not the one that was saved.
        CorruptFileError: Not a model file, or one that does not fit together.
    """
    parts = _parts(Path(path))
    if parts is not None:
        return CombinedLikelihood({k: load(file, engine=engine) for k, file in parts.items()})
    saved = read(Path(path))
    if saved.data or not saved.model.processes:
        return saved.likelihood(engine)
    return saved.model


def write(
    path: Path,
    model: Model,
    data: Mapping[str, RatioColumns],
    *,
    observed: Mapping[str, float] | None = None,
    kind: str = "npz",
    attachments: Mapping[str, str | Path] | None = None,
    shifts: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model file and columns of any names beside it."""
    entries = []
    for name, columns in data.items():
        file = path.with_name(f"{path.stem}.{name}.{kind}")
        facts = write_columns(columns, file, kind)
        entries.append({"name": name, "type": _COLUMNS, **facts})
    document = _document(model, observed or {}, entries)
    files = _attach(path.parent, attachments or {})
    more: dict[str, Any] = {PROVENANCE: stamp(), "attachments": files}
    if shifts is not None:
        more["shifts"] = dict(shifts)
    document["misc"] = {"rootml": more}
    return _put(path, document)


def _put(path: Path, document: Mapping[str, Any]) -> Path:
    with atomic_path(path) as temporary:
        text = json.dumps(document, indent=1, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


def _attach(folder: Path, attachments: Mapping[str, str | Path]) -> dict[str, dict[str, str]]:
    found = {}
    for name, given in attachments.items():
        path = beside(folder, Path(given).name)
        found[name] = {"file": path.name, "sha256": file_sha256(path)}
    return found


# --- to JSON -------------------------------------------------------------------------------------


def _document(
    model: Model, observed: Mapping[str, float], data: list[dict[str, Any]]
) -> dict[str, Any]:
    constraints = [
        _constraint(name, p)
        for name, p in model.all_parameters.items()
        if isinstance(p, Nuisance) and p.constraint != "none"
    ]
    distributions = [_mixture(model)] if model.processes else []
    if model.binned is not None:
        assert isinstance(model.binned, Binned)
        workspace = model.binned.to_pyhf()
        distributions.append({"name": "binned", "type": _WORKSPACE, "workspace": workspace})
    outcomes = {
        name: observed.get(name, p.observed)
        for name, p in model.all_parameters.items()
        if isinstance(p, Nuisance) and p.constraint != "none"
    }
    return {
        "metadata": _metadata(),
        "distributions": [*distributions, *constraints],
        "data": data,
        "likelihoods": [
            {
                "name": "likelihood",
                "distributions": [d["name"] for d in distributions],
                "data": ["observed"] if data else [],
                "aux_distributions": [c["name"] for c in constraints],
            }
        ],
        "domains": [{"name": "default_domain", "type": "product_domain", "axes": _axes(model)}],
        "parameter_points": [
            {"name": "default_values", "parameters": _values(model)},
            {
                "name": "auxiliary_measurements",
                "parameters": [
                    {"name": _outcome(name), "value": v, "const": True}
                    for name, v in outcomes.items()
                ],
            },
        ],
        "analyses": [
            {"name": "analysis", "likelihood": "likelihood", "domains": ["default_domain"]}
        ],
    }


def _metadata() -> dict[str, Any]:
    from rootml import __version__

    return {
        "hs3_version": _VERSION,
        "packages": [{"name": "rootml", "version": __version__}],
    }


def _outcome(name: str) -> str:
    return f"{name}_observed"


def _mixture(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "type": _MIXTURE,
        "processes": [{"name": k, "yield": str(f)} for k, f in model.formulas.items()],
        "parameters": list(model.parameters),
        "nuisances": [
            {
                "name": name,
                "yields": {k: list(v) for k, v in n.yields.items()},  # type: ignore[arg-type]
                "interpolation": n.interpolation,
                "yield_interpolation": n.yield_interpolation,
                "constraint": n.constraint,
                "observed": n.observed,
            }
            for name, n in model.nuisances.items()
        ],
    }


def _constraint(name: str, nuisance: Nuisance) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": f"{name}_constraint", "x": _outcome(name)}
    if nuisance.constraint == "gaussian":
        return entry | {"type": "gaussian_dist", "mean": name, "sigma": nuisance.width}
    if nuisance.constraint == "poisson":
        return entry | {"type": "poisson_dist", "mean": f"{nuisance.width!r} * {name}"}
    return entry | {"type": "lognormal_dist", "mu": f"log({name})", "kappa": nuisance.width}


def _axes(model: Model) -> list[dict[str, Any]]:
    axes = []
    for name, p in model.all_parameters.items():
        axis: dict[str, Any] = {"name": name}
        if p.lower is not None:
            axis["min"] = p.lower
        if p.upper is not None:
            axis["max"] = p.upper
        axes.append(axis)
    return axes


def _values(model: Model) -> list[dict[str, Any]]:
    return [
        {"name": name, "value": p.value, "const": p.fixed}
        for name, p in model.all_parameters.items()
    ]


# --- from JSON -----------------------------------------------------------------------------------


def _parts(path: Path) -> dict[str, Path] | None:
    """The model files of a combined likelihood; None: it is another model file."""
    with _readable(path) as document:
        ours = document.get("misc", {}).get("rootml", {})
        parts = ours.get("combined")
        if parts is None:
            return None
        for facts in ours.get("attachments", {}).values():
            _attachment(path.parent, facts)
        return {name: _attachment(path.parent, facts) for name, facts in parts.items()}


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[dict[str, Any]]:
    """The document in a file; what is wrong with its contents is a CorruptFileError."""
    if not path.is_file():
        message = f"no such model file: {path}"
        raise MissingFileError(message)
    try:
        yield json.loads(path.read_text(encoding="utf-8"))
    except RootmlError:
        raise
    except json.JSONDecodeError as error:
        message = f"{path} is not JSON: {error}"
        raise CorruptFileError(message) from error
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        message = f"{path} is not a model file of rootml: {type(error).__name__}: {error}"
        raise CorruptFileError(message) from error


def read(path: Path) -> Saved:
    """What a model file holds, checked."""
    with _readable(path) as document:
        model = _model(document)
        points = _by_name(document["parameter_points"])["auxiliary_measurements"]["parameters"]
        observed = {p["name"].removesuffix("_observed"): float(p["value"]) for p in points}
        entries = [e for e in document["data"] if e["type"] == _COLUMNS]
        extra = document.get("misc", {}).get("rootml", {}).get("attachments", {})
        data = {e["name"]: read_columns(e, path.parent) for e in entries}
        attachments = {k: _attachment(path.parent, v) for k, v in extra.items()}
        given = document.get("misc", {}).get("rootml", {}).get("shifts")
        shifts = None if given is None else (SampleShifts.from_json(given), str(given["prefix"]))
        return Saved(model, data, observed, attachments, shifts)


def _attachment(folder: Path, facts: Mapping[str, str]) -> Path:
    path = beside(folder, facts["file"])
    check_sha256(path, facts["sha256"])
    return path


def _by_name(entries: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in entries}


def _model(document: Mapping[str, Any]) -> Model:
    distributions = document["distributions"]
    mixture = next((d for d in distributions if d["type"] == _MIXTURE), None)
    workspace = next((d for d in distributions if d["type"] == _WORKSPACE), None)
    if mixture is None and workspace is None:
        message = f"no distribution of type {_MIXTURE!r} or {_WORKSPACE!r}"
        raise KeyError(message)
    binned = None if workspace is None else Binned.from_pyhf(workspace["workspace"])
    if mixture is None:
        return Model({}, binned=binned)
    axes = _by_name(_by_name(document["domains"])["default_domain"]["axes"])
    points = _by_name(document["parameter_points"])["default_values"]["parameters"]
    values = _by_name(points)

    def common(name: str) -> dict[str, Any]:
        axis = axes[name]
        return {
            "value": values[name]["value"],
            "fixed": bool(values[name]["const"]),
            "lower": axis.get("min"),
            "upper": axis.get("max"),
        }

    constraints = {d["name"]: d for d in distributions}
    nuisances = {
        n["name"]: Nuisance(
            constraint=n["constraint"],
            yields={k: (v[0], v[1]) for k, v in n["yields"].items()},
            width=_width(constraints.get(f"{n['name']}_constraint"), n["constraint"]),
            observed=n["observed"],
            interpolation=n["interpolation"],
            yield_interpolation=n["yield_interpolation"],
            **common(n["name"]),
        )
        for n in mixture["nuisances"]
    }
    return Model(
        processes={p["name"]: p["yield"] for p in mixture["processes"]},
        parameters={name: Parameter(**common(name)) for name in mixture["parameters"]},
        nuisances=nuisances,
        binned=binned,
        name=mixture["name"],
    )


def _width(entry: Mapping[str, Any] | None, constraint: str) -> float:
    if constraint == "none":
        return 1.0
    if entry is None:
        message = f"a nuisance has a {constraint} constraint, and no distribution for it"
        raise KeyError(message)
    if constraint == "gaussian":
        return float(entry["sigma"])
    if constraint == "lognormal":
        return float(entry["kappa"])
    return float(entry["mean"].partition(" * ")[0])
