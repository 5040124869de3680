"""`Morpher`: carries simulation onto data; fit, transform, apply, keep, hand on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rootml._internal.atomic import check_target
from rootml._internal.progress import long_step
from rootml._internal.reprs import Grid, Part, facts_text, shorten
from rootml._internal.types import Float
from rootml.sbi.morphing._base import FittedFlow
from rootml.sbi.morphing._settings import Engine, check_device, make_settings, use_compiled
from rootml.sbi.morphing.files._model import Morph, Outside, Which
from rootml.sbi.morphing.flow._flow import FlowFactory
from rootml.sbi.morphing.flow._training import LossRecord
from rootml.sbi.morphing.reweighting._reweight import Kinematics, Method

if TYPE_CHECKING:
    from rootml.dataset import Dataset
    from rootml.sbi.morphing.inference._apply import Applied, Variations
    from rootml.sbi.morphing.validation._report import ClosureReport
    from rootml.sbi.morphing.validation._two_sample import Kind
    from rootml.sbi.morphing.validation._validate import PairsBy


_LAYERS = 6


class Morpher(FittedFlow[Morph]):
    """Changes features of simulated events so that they are distributed as in data.

    One conditional flow is trained on both domains, told apart by a switch; a simulated event goes
    forward with the switch on simulation and back with the switch on data. Each event keeps its
    weight and its rank among events of equal conditions; correlations become those of the data.

    - Features may be continuous, integers, have atoms (the zeros of an isolation sum) and edges:
      these come out exactly as the data have them. What happens beyond the training range is
      said by `outside`.
    - Rows whose conditions lie outside of the range that both domains share, or with NaN or
      infinity, pass unchanged; they are counted and can be flagged.
    - If columns are lists (one number per photon, jet, ...), every element is a row; conditions
      that are one number per event are repeated for each.
    - Random numbers, needed for atoms alone, are functions of `seed` and the event's id.

    Args:
        features: Columns to change.
        conditions: Columns that the change depends on; they stay.
        id: Columns that identify an event, integers or strings, e.g. ``["run", "event"]``. None:
            the position of the event: its entry in the file or row in the array, which another
            skim changes.
        layers, hidden, bins: Of the coupling spline flow: layers (None: 6, or as many as bring
            every pair of features together, 8 from 9 features on), widths of the hidden layers of
            each one's network, bins of the splines.
        flow: Instead of it, ``(features, context) -> zuko flow``, e.g. ``lambda d, c:
            zuko.flows.NSF(d, c)``.
        ensemble: Number of Poisson bootstraps trained besides, for the variations up and down
            (two at least; the fewer, the wider these are).
        reweight: How the spectra of the conditions are made equal in training: ``"network"`` or
            ``"boosted"`` (a density ratio from networks, or from trees, which needs xgboost),
            ``"binned"``, or ``"none"``.
        steps, batch_size, patience: Of the training; None: they follow the effective number of
            events of the smaller domain (5 steps per root of the events, up to 6,000; with few
            events 1,000 steps, whose weights decay faster). After
            `patience` checks, of 20 in all, without a better validation loss, the learning rate
            is annealed early and the training ends.
        learning_rate: At its highest.
        validation: Fraction of the events held out for that loss.
        max_rows: Rows used of each domain; of more, a uniform random sample.
        seed: Of everything random.
        engine: ``"compiled"`` (numba), ``"numpy"``, or ``"auto"``: compiled if numba is there.
        bounds: ``{feature: (low, high, *sentinels)}``, e.g. ``{"btag": (0, 1, -1)}``; None for no
            bound. No result lies beyond a bound. A sentinel is a value that means something else
            (-1: no jet): how often it occurs is corrected, its value never changes. Without,
            edges are found from both domains, and values with a share of their own stay exact.
        outside: What happens to a row with a feature outside of the range of the simulation in
            the training: ``"keep"``: it passes unchanged; ``"clip"``: the value is moved to the
            end of the range first; ``"extrapolate"``: along the tail. All are counted, and can
            be flagged.
        device: Where the flow is trained and applied: a device of torch, e.g. ``"cuda"``. None: on
            the CPU, by compiled kernels, which are faster there than torch. It was tested on the
            CPU; no GPU was measured. Tables and reweighting stay on the CPU.

    Source: Daumann et al., "One flow to correct them all", arXiv:2403.18582; spline flows:
    arXiv:1906.04032.

    >>> import pyarrow as pa, pyarrow.parquet, numpy as np, rootml
    >>> from rootml.sbi.morphing import Morpher
    >>> rng = np.random.default_rng(1)
    >>> for name, shift in (("sim", 0.0), ("data", 1.0)):
    ...     columns = {"pt": rng.exponential(size=4000), "r9": shift + rng.normal(size=4000)}
    ...     pa.parquet.write_table(pa.table(columns), f"{name}.parquet")
    >>> sim, data = rootml.open("sim.parquet"), rootml.open("data.parquet")
    >>> morpher = Morpher(["r9"], ["pt"], layers=2, steps=20, reweight="none").fit(sim, data)
    >>> morpher.transform({"pt": np.array([0.5]), "r9": np.array([0.0])})["r9"].round(0)
    array([1.])
    """

    def __init__(
        self,
        features: Sequence[str],
        conditions: Sequence[str],
        *,
        id: str | Sequence[str] | None = None,  # noqa: A002 - the word users know
        layers: int | None = None,
        hidden: Sequence[int] = (64, 64),
        bins: int = 8,
        flow: FlowFactory | None = None,
        ensemble: int = 0,
        reweight: Method = "network",
        steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 2e-3,
        patience: int | None = None,
        validation: float = 0.1,
        max_rows: int = 2_000_000,
        seed: int = 0,
        engine: Engine = "auto",
        bounds: Mapping[str, Sequence[float | None]] | None = None,
        outside: Outside = "keep",
        device: str | None = None,
    ) -> None:
        self._settings = make_settings(
            features,
            conditions,
            id=id,
            layers=layers,
            hidden=hidden,
            bins=bins,
            flow=flow,
            ensemble=ensemble,
            reweight=reweight,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            patience=patience,
            validation=validation,
            max_rows=max_rows,
            seed=seed,
            engine=engine,
            bounds=bounds,
            outside=outside,
            device=device,
        )
        self._fitted = None

    # --- what it is ---------------------------------------------------------------------------

    @property
    def ensemble(self) -> int:
        """Number of bootstraps besides the nominal map."""
        return self._settings.ensemble

    @property
    def kinematics(self) -> Kinematics:
        """Factors that bring the conditions of the simulation onto those of the data.

        Raises:
            UsageError: Not fitted.
        """
        return self._morph.kinematics

    @property
    def history(self) -> list[list[LossRecord]]:
        """Losses (step, train, validation) at each check, for each member.

        Raises:
            UsageError: Not fitted.
        """
        return [list(member.history) for member in self._morph.members]

    @property
    def _morph(self) -> Morph:
        return self._require_fitted("fit(sim=..., data=...)")

    # --- fitting ------------------------------------------------------------------------------

    @long_step("morphing")
    def fit(
        self,
        sim: Dataset,
        data: Dataset,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: bool | None = None,
    ) -> Self:
        """Learn the map; weights of both datasets may be negative.

        Args:
            sim, data: Selected events of either; labels are not looked at.
            checkpoint: A folder for checkpoints, 20 per training. A fit with the same data,
                settings and folder goes on where they were left and ends the same.
            progress: Show bars, with the loss; None: on a terminal.

        Raises:
            MissingPackageError: torch (extra ``torch``) or xgboost is not installed.
            EmptySelectionError: A domain without a usable row.
            UsageError: A constant feature, conditions that do not overlap, weights without a
                positive sum: names the column and the numbers.
            ConvergenceError: The loss became NaN or infinite.
            StateError: A checkpoint of another training.
        """
        from rootml.sbi.morphing._fit import fit

        folder = None if checkpoint is None else Path(checkpoint)
        self._fitted = fit(self._settings, sim, data, checkpoint=folder, progress=progress)
        return self

    # --- applying -----------------------------------------------------------------------------

    def transform(
        self,
        values: Any,
        *,
        which: Which = "nominal",
        flag: str | None = None,
        outside_flag: str | None = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> Any:  # of the kind of `values`; of a Dataset: one
        """Simulated events with their features changed, in the kind of container that came.

        Args:
            values: A dict of arrays, a structured NumPy array, an Arrow table or record batch, an
                awkward array of records (lists too), or a `Dataset`. Features, conditions and
                the id are looked up by name; everything else is passed on.
            which: ``"nominal"``; ``"up"`` or ``"down"``, nominal values moved so that the
                quantiles of each feature's distribution move by their standard deviation over
                the ensemble: the edges of a 68 % band of its histogram; or the number of a
                member, 0 being the nominal one. In toys of 10,000 events with 5 members, the
                band covered 0.73 +- 0.06 of the true quantiles. It is meant for all rows
                together, with their kinematic factors: in fifths of one condition it covered
                0.49, and correlations it does not vary. There use the columns of the members
                (`apply` with ``variations="members"``) and `combine_members`, which covered
                0.60 to 0.76 in fifths of each condition.
            flag: Name of a boolean column to add: whether the row was changed.
            outside_flag: Name of another: whether a feature lies outside of the range of the
                simulation in the training.
            folder: For a `Dataset`: where its corrected columns are written, as friend trees;
                None: a private folder, removed when Python ends.

        Returns:
            The same kind. Floats keep their dtype; so do integers if all values of the data were
            integers, otherwise they become float64. A `Dataset` reads the corrected columns under
            the old names.

        Raises:
            MissingColumnError: A column that is not there; lists the nearest.
            UnsupportedTypeError: A container or column of another type.
            SchemaError: Lists of different lengths.
        """
        from rootml.sbi.morphing.inference._apply import Flags, transform

        flags = Flags(flag, outside_flag)
        return transform(self._morph, values, which=which, flags=flags, folder=folder)

    @long_step("applying the morphing")
    def apply(
        self,
        dataset: Dataset,
        folder: str | os.PathLike[str],
        *,
        suffix: str = "_corr",
        variations: Variations = None,
        tree: str = "Friends",
        format: str | None = None,  # noqa: A002 - the word users know
        overwrite: bool = False,
        progress: bool | None = None,
    ) -> Applied:
        """Write corrected features beside the events, as friend trees; see `write_friend`.

        The columns are ``<feature><suffix>``, with `variations` also ``<feature><suffix>_up`` and
        ``_down`` (what they cover: see `transform`), or ``_member1``, ``_member2``, ...;
        ``morphed<suffix>``: false where a row passed unchanged; ``outside<suffix>``: true where a
        feature lies outside of the range of the training. Partition by partition; memory does not
        grow with the files.

        Args:
            suffix: Put behind the names.
            variations: Whether to write the edges of the band of the ensemble, which are meant
                for all rows together; None: if there is an ensemble of at least two.
                ``"members"``: the columns of each member instead, for any selection: fill the
                histogram with each of them and combine the results by `combine_members`.
            tree, format, overwrite: As in `Dataset.write_friend`.
            progress: Show a bar; None: on a terminal.

        Returns:
            Paths of the files, and how many rows passed unchanged and why.
        """
        from rootml.sbi.morphing.inference._apply import apply

        return apply(
            self._morph,
            dataset,
            folder,
            suffix=suffix,
            variations=variations,
            options={"tree": tree, "format": format, "overwrite": overwrite},
            progress=progress,
        )

    @long_step("validating")
    def validate(
        self,
        sim: Any,
        data: Any,
        *,
        max_rows: int = 200_000,
        bins: int = 30,
        slices: int = 5,
        folds: int = 2,
        classifier: Kind = "both",
        seed: int = 0,
        pairs: PairsBy | None = None,
        progress: bool | None = None,
    ) -> ClosureReport:
        """Compare corrected simulation with data: see `rootml.sbi.morphing.validate`."""
        from rootml.sbi.morphing.validation._validate import validate

        return validate(
            self,
            sim,
            data,
            max_rows=max_rows,
            bins=bins,
            slices=slices,
            folds=folds,
            classifier=classifier,
            seed=seed,
            pairs=pairs,
            progress=progress,
        )

    # --- keeping and handing on ---------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one file: JSON and arrays, with a checksum; no code.

        Raises:
            MissingFileError: There is no such folder.
            UsageError: Not fitted.
        """
        from rootml.sbi.morphing.files._persist import save

        save(self._settings, self._morph, check_target(path))

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        flow: FlowFactory | None = None,
        engine: Engine = "auto",
        device: str | None = None,
    ) -> Morpher:
        """Read what `save` wrote.

        Args:
            flow: The same as when it was fitted, if one was given: files hold no code.
            engine, device: As of `Morpher`; a file does not say where its flow is to run.

        Raises:
            MissingFileError, CorruptFileError: No such file, or a damaged one.
            StateError: A file of another kind or version, or of another `flow`.
        """
        from rootml.sbi.morphing.files._persist import load

        settings, morph = load(
            Path(path), flow=flow, compiled=use_compiled(engine), device=check_device(device)
        )
        made = cls.__new__(cls)
        made._settings, made._fitted = settings, morph
        return made

    def to_onnx(self, path: str | os.PathLike[str], *, which: int = 0) -> None:
        """Write the whole map, preprocessing inside, as an ONNX model.

        Inputs are ``features`` `(rows, features)` and ``conditions`` `(rows, conditions)`, both
        float64, and ``draws`` `(rows, features)`, float64 uniform random numbers between 0 and 1,
        which matter for atoms alone: those of `draws` to get the values of `transform`. Outputs
        are ``corrected``, float64 as ``features``, and ``morphed`` `(rows,)`, whether a row was
        changed. Columns are in the order of `features` and `conditions`.

        Args:
            which: The number of a member of the ensemble; 0: the nominal map.

        Raises:
            MissingFileError: There is no such folder.
            MissingPackageError: onnx is not installed.
            UsageError: The flow was given by the user.
        """
        from rootml.sbi.morphing.inference._onnx import write_onnx

        write_onnx(self._morph, check_target(path), member=which)

    def draws(self, values: Any) -> Float:
        """The uniform random numbers `(rows, features)` that `transform` uses for `values`.

        Args:
            values: As in `transform`, but no `Dataset`; of lists, all elements one after another.
        """
        from rootml.sbi.morphing.inference._apply import draws

        return draws(self._morph, values)

    # --- showing ------------------------------------------------------------------------------

    def _facts(self) -> list[tuple[str, str]]:
        settings = self._settings
        identity = ", ".join(self.id) if self.id else "none: random numbers by position"
        facts = [
            ("features", shorten(self.features, 12)),
            ("conditions", shorten(self.conditions, 12)),
            ("id", identity),
        ]
        if settings.flow is not None:
            facts.append(("flow", "given by the user"))
        else:
            hidden = " x ".join(map(str, settings.hidden))
            shape = f"{settings.layers} coupling layers, hidden {hidden}, {settings.bins} bins"
            facts.append(("flow", shape))
        if self._fitted is None:
            return [*facts, ("state", "not fitted")]
        return [*facts, *self._results(self._fitted)]

    def _results(self, morph: Morph) -> list[tuple[str, str]]:
        facts = [("members", f"1 nominal, {len(morph.members) - 1} bootstraps")]
        for domain in ("simulation", "data"):
            if domain in morph.info:
                found = morph.info[domain]
                left = f", {found['not finite']:,} not finite" if found["not finite"] else ""
                facts.append((domain, f"{found['rows']:,} rows, {found['used']:,} used{left}"))
        training = morph.info["training"]
        facts.append(
            (
                "training",
                (
                    f"{training['steps']:,} steps of {training['batch_size']:,} rows, "
                    f"{training['effective events']:,.0f} effective events"
                ),
            )
        )
        closure = morph.kinematics.closure
        text = f"{morph.kinematics.method}, effective rows {100 * closure.effective:.1f} %"
        if closure.auc_after == closure.auc_after:  # not NaN
            text += f", AUC of conditions {closure.auc_before:.4f} -> {closure.auc_after:.4f}"
        elif closure.reason:
            text += f" ({closure.reason})"
        facts.append(("reweighting", text))
        losses = [check.validation for check in morph.members[0].history]
        if losses:
            facts.append(("loss", f"{min(losses):.4f} (validation, nominal)"))
        return facts

    def _ranges_grid(self) -> Grid:
        closure = self.kinematics.closure
        rows = []
        for name, (low, high) in self.ranges.items():
            ks = [each.get(name) for each in (closure.ks_before, closure.ks_after)]
            texts = ["-" if value is None else f"{value:.4f}" for value in ks]
            rows.append((name, f"{low:.6g}", f"{high:.6g}", *texts))
        return Grid(("condition", "from", "to", "KS before", "KS after"), rows)

    def __repr__(self) -> str:
        text = f"<Morpher>\n{facts_text(self._facts())}"
        return f"{text}\n{self._ranges_grid()}" if self.fitted else text

    def _html_title(self) -> str:
        return "rootml.sbi.morphing.Morpher"

    def _html_parts(self) -> list[Part]:
        parts: list[Part] = [self._facts()]
        return [*parts, self._ranges_grid()] if self.fitted else parts
