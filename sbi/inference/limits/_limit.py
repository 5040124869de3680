"""What a limit is and what CLs of a value is: results, with their pictures and tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.reprs import HtmlRepr, Part, facts_text
from rootml._internal.types import Float
from rootml.plot import Labels, Style, named, write
from rootml.plot import limit as draw_limit
from rootml.sbi.inference.fits._cabinetry import CabinetryResults, container
from rootml.sbi.inference.fits._hepdata import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BANDS = (-2, -1, 0, 1, 2)


def label_of(number: int | None) -> str:
    """The name of a curve: observed (None), or expected at so many standard deviations."""
    if number is None:
        return "observed"
    return "expected" if number == 0 else f"expected{number:+d}"


_BANDS = tuple(map(label_of, BANDS))


@dataclass(frozen=True)
class Limit(HtmlRepr):
    """An upper limit by CLs.

    Attributes:
        name: The parameter.
        level: Its confidence level.
        observed: The limit.
        expected: Limits expected without a signal, at -2, -1, 0, +1, +2 standard deviations; NaN
            (by toys only): outside of the values.
        method: ``"asymptotic"`` or ``"toys"``.
        values: Where CLs was computed for a figure, ``(point,)``.
        curves: CLs there: ``"observed"``, ``"expected"``, ``"expected-1"``...
        error: Statistical error of the observed limit; 0 for the asymptotic one.
    """

    name: str
    level: float
    observed: float
    expected: tuple[float, ...]
    method: str
    values: Float = field(repr=False)
    curves: Mapping[str, Float] = field(repr=False)
    error: float = 0.0

    def plot(
        self,
        *,
        ax: Any = None,
        labels: Labels = None,
        units: Labels = None,
        style: Style = "plain",
        path: Any = None,
    ) -> Axes:
        """Draw CLs against the parameter, see `rootml.plot.limit`.

        Args:
            ax, labels, units, style: As for all functions of `rootml.plot`.
            path: Write the picture there; None: notebooks show it.

        Returns:
            The axes.
        """
        bands = [self.curves[key] for key in _BANDS]
        look: Any = {"ax": ax, "labels": labels, "units": units, "style": style}
        drawn = draw_limit(
            self.name, self.values, self.curves["observed"], bands, level=self.level, **look
        )
        return write(drawn, path)

    def to_hepdata(
        self, name: str, *, labels: Labels = None, units: Labels = None, digits: int = 5
    ) -> list[Any]:
        """Two `hepdata_lib.Table`: the limits, and CLs along the parameter.

        Args:
            name: Of the first table; the second is ``"<name> CLs"``.
            labels, units: As for the pictures.
            digits: Significant digits of errors, and of values without errors.

        Raises:
            MissingPackageError: hepdata_lib is not installed.
        """
        quantity = named(self.name, labels, units)
        low2, low1, median, high1, high2 = self.expected
        bands = {"1 s.d.": [[low1 - median, high1 - median]],
                 "2 s.d.": [[low2 - median, high2 - median]]}  # fmt: skip
        cls = {key: np.asarray(self.curves[key]) for key in ("observed", *_BANDS)}
        middle = cls["expected"]
        spread = {
            f"{width} s.d.": np.sort(np.stack(
                [cls[f"expected{sign}{width}"] - middle for sign in "-+"], axis=1), axis=1)
            for width in (1, 2)
        }  # fmt: skip
        level = f"{100 * self.level:.4g} % CL"
        return [
            table(
                name, f"Upper limits at {level} ({self.method})",
                independent={"limit on": [quantity]},
                dependent={"observed": ([self.observed], {}), "expected": ([median], bands)},
                digits=digits,
            ),
            table(
                f"{name} CLs", f"CLs along {quantity}", independent={quantity: self.values},
                dependent={
                    "observed CLs": (cls["observed"], {}), "expected CLs": (middle, spread),
                },
                digits=digits,
            ),
        ]  # fmt: skip

    def to_cabinetry(self) -> CabinetryResults:
        """A `cabinetry.fit.LimitResults`.

        Raises:
            MissingPackageError: cabinetry is not installed.
        """
        return container(
            "LimitResults", observed_limit=self.observed, expected_limit=np.array(self.expected),
            observed_CLs=np.asarray(self.curves["observed"]),
            expected_CLs=np.stack([self.curves[key] for key in _BANDS], axis=1),
            poi_values=self.values, confidence_level=self.level,
        )  # fmt: skip

    def _facts(self) -> list[tuple[str, str]]:
        low2, low1, median, high1, high2 = self.expected
        error = f" +- {self.error:.2g}" if self.error else ""
        return [
            (f"limit on {self.name}", f"{self.observed:.5g}{error}"),
            ("expected", f"{median:.5g}"),
            ("68 % band", f"{low1:.5g} to {high1:.5g}"),
            ("95 % band", f"{low2:.5g} to {high2:.5g}"),
            ("method", f"CLs at {100 * self.level:.4g} %, {self.method}"),
        ]

    def __repr__(self) -> str:
        return facts_text(self._facts())

    def _html_parts(self) -> list[Part]:
        return [self._facts()]


@dataclass(frozen=True)
class CLs(HtmlRepr):
    """CLs of one value of a parameter, asymptotically.

    Attributes:
        name: The parameter.
        value: The value that is tested.
        observed: CLs of the data.
        expected: CLs expected without a signal, at -2, -1, 0, +1, +2 standard deviations.
        q: The test statistic q~ of the data.
        q_expected: That of the Asimov data without a signal.
    """

    name: str
    value: float
    observed: float
    expected: tuple[float, ...]
    q: float
    q_expected: float

    def _facts(self) -> list[tuple[str, str]]:
        return [
            (f"CLs of {self.name} = {self.value:g}", f"{self.observed:.5g}"),
            ("expected", f"{self.expected[2]:.5g}"),
            ("68 % band", f"{self.expected[1]:.5g} to {self.expected[3]:.5g}"),
            ("q", f"{self.q:.5g}"),
        ]

    def __repr__(self) -> str:
        return facts_text(self._facts())

    def _html_parts(self) -> list[Part]:
        return [self._facts()]
