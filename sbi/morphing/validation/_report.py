"""`ClosureReport`: how well corrected simulation agrees with data."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from rootml._internal.atomic import check_target
from rootml._internal.reprs import Grid, HtmlRepr, Part, facts_text
from rootml._internal.types import Float
from rootml.errors import MissingFileError, StateError
from rootml.plot import Labels, Style
from rootml.sbi.morphing.validation._metrics_frechet import Distance
from rootml.sbi.morphing.validation._metrics_support import Support
from rootml.sbi.morphing.validation._pairs import PairResult, Pairs
from rootml.sbi.morphing.validation._report_json import from_plain, to_plain
from rootml.sbi.morphing.validation._two_sample import TwoSample
from rootml.sbi.morphing.validation._validate_compare import Comparison, Options

FORMAT, VERSION = "rootml.sbi.morphing.ClosureReport", 2
FLOOR = "floor"
DISTANCES_NOTE = (
    "FPD and KPD compare moments: they can be 0 for samples that a classifier tells apart "
    "easily; look at the AUC beside them"
)


@dataclass(frozen=True, eq=False)
class ClosureReport(HtmlRepr):
    """Simulation before and after the correction beside data, and how well anything could do.

    Printing it gives tables, in a notebook as HTML; `plot` draws pictures; `save` and `load` keep
    it as JSON. It holds no events.

    Attributes:
        features, conditions: Names of the columns.
        rows, effective_rows: Of the data.
        correlations: Linear correlations in the data, `(columns, columns)`, features first.
        supports: Where each feature can lie, as found in the data.
        comparisons: By name: "before", "after", and "floor", which is one random half of the data
            beside the other.
        conditions_only: The two-sample test of (reweighted) simulation against data that sees
            nothing but the conditions: no correction of features can come below it. None without
            conditions.
        options: How finely it was compared.
        notes: What was drawn at random, left out, or passed unchanged.
        pairs: Events that are in both samples, one by one; None: not asked for.
    """

    features: tuple[str, ...]
    conditions: tuple[str, ...]
    rows: int
    effective_rows: float
    correlations: Float
    supports: dict[str, Support]
    comparisons: dict[str, Comparison]
    conditions_only: TwoSample | None
    options: Options
    notes: tuple[str, ...] = ()
    pairs: Pairs | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Features, then conditions."""
        return (*self.features, *self.conditions)

    @property
    def before(self) -> Comparison:
        """The simulation as it was."""
        return self[_BEFORE]

    @property
    def after(self) -> Comparison:
        """The corrected simulation."""
        return self[_AFTER]

    @property
    def floor(self) -> Comparison:
        """Half of the data beside the other half."""
        return self[FLOOR]

    def __getitem__(self, name: str) -> Comparison:
        try:
            return self.comparisons[name]
        except KeyError:
            message = f"no comparison {name!r}: there are {', '.join(self.comparisons)}"
            raise StateError(message) from None

    # --- keeping ------------------------------------------------------------------------------

    def to_json(self) -> str:
        """Everything as JSON text; NaN is null."""
        content = {"format": FORMAT, "version": VERSION, "report": to_plain(self)}
        return json.dumps(content, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> ClosureReport:
        """The inverse of `to_json`.

        Raises:
            StateError: It is something else, or of another version.
        """
        try:
            content = json.loads(text)
        except ValueError as error:
            message = f"not a closure report: {error}"
            raise StateError(message) from error
        if not isinstance(content, Mapping) or content.get("format") != FORMAT:
            message = f"not a closure report: 'format' should be {FORMAT!r}"
            raise StateError(message)
        if content.get("version") != VERSION:
            message = f"a report of version {content.get('version')!r}: this reads {VERSION}"
            raise StateError(message)
        found: ClosureReport = from_plain(cls, content.get("report"), where="report")
        return found

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `to_json` to a file.

        Raises:
            MissingFileError: There is no such folder.
        """
        check_target(path).write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ClosureReport:
        """Read what `save` wrote.

        Raises:
            MissingFileError: No such file.
            StateError: It is not a report.
        """
        if not Path(path).is_file():
            message = f"no report at {path}"
            raise MissingFileError(message)
        return cls.from_json(Path(path).read_text(encoding="utf-8"))

    # --- looking at it ------------------------------------------------------------------------

    def numbers(self) -> dict[str, dict[str, float | None]]:
        """The measures of `summary` for scripts, by comparison and name; None: not measured."""
        found = {name: _numbers(each) for name, each in self.comparisons.items()}
        if self.pairs is not None:
            found[_BEFORE] |= _pair_numbers(self.pairs.before)
            found[_AFTER] |= _pair_numbers(self.pairs.after)
        return found

    @overload
    def plot(
        self, folder: None = None, *, labels: Labels = None, units: Labels = None,
        style: Style = "plain",
    ) -> dict[str, Any]: ...  # fmt: skip

    @overload
    def plot(
        self, folder: str | os.PathLike[str], *, labels: Labels = None, units: Labels = None,
        style: Style = "plain",
    ) -> list[str]: ...  # fmt: skip

    def plot(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        labels: Labels = None,
        units: Labels = None,
        style: Style = "plain",
    ) -> list[str] | dict[str, Any]:
        """Draw one picture per feature with the ratio to data, correlations, ROC curves, profiles.

        A profile shows the median and the central 68 % of the features along a condition.

        Args:
            folder: Write one PNG per picture there; it is made if need be. None: notebooks show
                the pictures.
            labels, units, style: As for all functions of `rootml.plot`.

        Returns:
            Paths of the files; without a folder the axes by name of the picture.

        Raises:
            MissingPackageError: matplotlib is not installed.
        """
        from rootml.sbi.morphing.validation._plots import Results, draw, draw_files

        samples = {name: each for name, each in self.comparisons.items() if name != FLOOR}
        floor = self.comparisons[FLOOR].classifier if FLOOR in self.comparisons else None
        results = Results(
            self.features,
            self.conditions,
            self.correlations,
            samples,
            self.conditions_only,
            floor,
        )
        look: Any = {"labels": labels, "units": units, "style": style}
        if folder is None:
            return draw(results, look)
        return draw_files(results, look, Path(folder))

    def summary(self) -> Grid:
        """One line per measure, one column per comparison."""
        names = list(self.comparisons)
        rows = [
            (title, *(show(each) for each in self.comparisons.values()), aim)
            for title, show, aim in _LINES
            if self.conditions or "slice" not in title
        ]
        if self.conditions_only is not None:
            test = self.conditions_only
            blank = [""] * (len(names) - 1)
            value = _pm(test.auc, test.error, 4)
            rows.insert(3, ("AUC of the conditions alone", value, *blank, "0.5"))
        return Grid(("", *names, "aim"), rows)

    def per_feature(self) -> Grid:
        """One line per feature and comparison."""
        rows = []
        for j, name in enumerate(self.features):
            for title, comparison in self.comparisons.items():
                each = comparison.features[j]
                rows.append(
                    (
                        name,
                        title,
                        f"{each.chi_square.per_ndf:.2f} ± {each.chi_square.spread:.2f}",
                        f"{each.ks.value:.4f}",
                        f"{each.ks.expected:.4f}",
                        f"{each.wasserstein:.4f}",
                        f"{each.separation:.2e}",
                        f"{100 * each.leakage:.3g}",
                    )
                )
        header = (
            "feature",
            "",
            "χ²/ndf (1 ±)",
            "KS",
            "expected",
            "W1/width",
            "separation",
            "leak %",
        )
        return Grid(header, rows, left=2)

    def per_pair(self) -> Grid:
        """One line per feature, before and after: residuals and ranks of paired events.

        Raises:
            StateError: `validate` was called without ``pairs="event"``.
        """
        if self.pairs is None:
            message = 'no pairs were compared: call validate(..., pairs="event")'
            raise StateError(message)
        both = ((_BEFORE, self.pairs.before), (_AFTER, self.pairs.after))
        rows = [
            (
                each[j].name,
                title,
                f"{each[j].bias:.4g} ± {each[j].bias_error:.2g}",
                f"{each[j].width:.4g}",
                f"{each[j].absolute:.4g}",
                f"{each[j].rank_distance:.4f} ± {each[j].rank_error:.4f}",
                f"{each[j].rank_correlation:.4f}",
            )
            for j in range(len(self.features))
            for title, each in both
        ]
        header = (
            f"{self.pairs.rows:,} pairs",
            "",
            "residual",
            "width",
            "mean |residual|",
            "rank distance (1/3: independent)",
            "rank correlation",
        )
        return Grid(header, rows, left=2)

    def _facts(self) -> list[tuple[str, str]]:
        data = f"{self.rows:,} rows, {self.effective_rows:,.0f} effective"
        facts = [("data", data), ("features", ", ".join(self.features))]
        if self.conditions:
            facts.append(("conditions", ", ".join(self.conditions)))
        return facts + [("note", note) for note in (*self.notes, DISTANCES_NOTE)]

    def _grids(self) -> tuple[Grid, ...]:
        grids = self.summary(), self.per_feature()
        return grids if self.pairs is None else (*grids, self.per_pair())

    def __str__(self) -> str:
        return "\n\n".join([facts_text(self._facts()), *map(str, self._grids())])

    def __repr__(self) -> str:
        tests = {name: each.classifier for name, each in self.comparisons.items()}
        areas = ", ".join(f"{name} {test.auc:.4f}" for name, test in tests.items())
        return f"<ClosureReport of {len(self.features)} features: AUC {areas}>"

    def _html_title(self) -> str:
        return "rootml.sbi.morphing.ClosureReport"

    def _html_parts(self) -> tuple[Part, ...]:
        return self._facts(), *self._grids()


_BEFORE, _AFTER = "before", "after"


def _pm(value: float, error: float, digits: int) -> str:
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _distance(distance: Distance, scale: float) -> str:
    return f"{scale * distance.value:.3f} ± {scale * distance.error:.3f}"


def _mean_and_max(values: Float, scale: float, digits: int) -> str:
    if not len(values):
        return "-"
    return f"{scale * values.mean():.{digits}f} / {scale * values.max():.{digits}f}"


def _leak(comparison: Comparison) -> str:
    return f"{100 * max(each.leakage for each in comparison.features):.3g}"


_LINES: tuple[tuple[str, Callable[[Comparison], str], str], ...] = (
    ("two-sample AUC", lambda c: _pm(c.classifier.auc, c.classifier.error, 4), "0.5"),
    ("Frechet physics distance x 1000", lambda c: _distance(c.fpd, 1e3), "0"),
    ("kernel physics distance x 1000", lambda c: _distance(c.kpd, 1e3), "0"),
    ("worst χ²/ndf", lambda c: f"{c.worst_chi_square:.2f}", "1"),
    (
        "KS of features, mean / max",
        lambda c: _mean_and_max(np.array([f.ks.value for f in c.features]), 1, 4),
        "0",
    ),
    ("KS in slices, mean / max", lambda c: _mean_and_max(c.slice_distances, 1, 4), "0"),
    (
        "|Δ correlation| %, mean / max",
        lambda c: _mean_and_max(c.correlation_differences, 100, 2),
        "0",
    ),
    ("mean discrepancy (MMD²) x 1000", lambda c: _distance(c.mmd, 1e3), "0"),
    ("worst leakage out of support, %", _leak, "0"),
    ("rows", lambda c: f"{c.rows:,}", ""),
    ("effective rows", lambda c: f"{c.effective_rows:,.0f}", ""),
    ("negative weights, %", lambda c: f"{100 * c.negative:.2f}", ""),
)


def _pair_numbers(results: tuple[PairResult, ...]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for each in results:
        found[f"pairs_bias_{each.name}"] = each.bias
        found[f"pairs_width_{each.name}"] = each.width
        found[f"pairs_rank_distance_{each.name}"] = each.rank_distance
    return found


def _numbers(comparison: Comparison) -> dict[str, float | None]:
    pairs, slices = comparison.correlation_differences, comparison.slice_distances
    return {
        "auc": comparison.classifier.auc,
        "auc_error": comparison.classifier.error,
        "chi2_per_ndf_max": comparison.worst_chi_square,
        "correlation_difference_mean": float(pairs.mean()) if len(pairs) else None,
        "correlation_difference_max": float(pairs.max()) if len(pairs) else None,
        "slice_ks_mean": float(slices.mean()) if len(slices) else None,
        "slice_ks_max": float(slices.max()) if len(slices) else None,
        "fpd": comparison.fpd.value,
        "fpd_error": comparison.fpd.error,
        "kpd": comparison.kpd.value,
        "kpd_error": comparison.kpd.error,
        "mmd": comparison.mmd.value,
        "mmd_error": comparison.mmd.error,
        "leakage_max": max(feature.leakage for feature in comparison.features),
        "rows": comparison.rows,
        "effective_rows": comparison.effective_rows,
    }
