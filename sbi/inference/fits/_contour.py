"""The likelihood in the plane of two parameters, all others refitted: curves of equal likelihood.

A curve is followed point by point. The derivatives of ``t = 2 (conditional minimum - minimum)`` by
the two held parameters are twice those of -log L, for all others are at their minimum. So each
conditional fit says where the curve goes on, and the next point is found from there by Newton's
method::

    repeat
        go a step on, at a right angle to the gradient
        go in the direction of the old gradient until sqrt(t) is as wanted
    until the start is reached again

Lengths and angles are those of the plane in which the covariance of the fit is a unit matrix.
Where a parameter ends at its limit, so does the region: the curve follows the limit.

The method is a predictor with a corrector: E. Allgower and K. Georg, Introduction to Numerical
Continuation Methods, https://doi.org/10.1137/1.9780898719154, chapter 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.progress import track
from rootml._internal.types import Float
from rootml._internal.validators import check_whole, is_a
from rootml.errors import ConvergenceError, DensityError, UsageError
from rootml.plot import Labels, Style, write
from rootml.plot import contour as draw_contour
from rootml.sbi.inference.fits._scan import Scannable
from rootml.sbi.inference.minimum._minimise import limits
from rootml.sbi.inference.minimum._quantiles import check_level, chi2_quantile
from rootml.sbi.inference.minimum._quasi_newton import Conditional

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CLOSE = 1e-3  # of a step: so near has a point to be
_EXACT = 1e-8  # of sqrt(t): conditional fits know no more
_SAME = 1e-4  # of sqrt(t): a point is on the curve
_CORRECTIONS = 8
_FAR = 0.6  # of a step: a longer correction means that the step was too long
_SHORTEST = 1e-5  # of a full step
_TURN = math.cos(math.radians(40))  # the curve bends less than this in a step
_LONGEST = 50  # times the length of the curve of a parabola


@dataclass(frozen=True)
class Contour:
    """Curves in the plane of two parameters on which the profile likelihood reaches levels.

    Attributes:
        x: Name of one parameter.
        y: Name of the other.
        curves: Per confidence level the closed curve, ``(point, 2)``, counter-clockwise. Each
            point is a conditional fit; where the region ends at a limit, so does the curve.
        best: The fitted point.
    """

    x: str
    y: str
    curves: dict[float, Float]
    best: tuple[float, float]

    def plot(
        self,
        *,
        ax: Any = None,
        labels: Labels = None,
        units: Labels = None,
        style: Style = "plain",
        path: Any = None,
    ) -> Axes:
        """Draw the curves and the fitted point, see `rootml.plot.contour`.

        Args:
            ax, labels, units, style: As for all functions of `rootml.plot`.
            path: Write the picture there; None: notebooks show it.

        Returns:
            The axes.
        """
        look: Any = {"ax": ax, "labels": labels, "units": units, "style": style}
        return write(draw_contour(self.x, self.y, self.curves, best=self.best, **look), path)

    def __repr__(self) -> str:
        levels = ", ".join(f"{level:.3g}" for level in self.curves)
        return f"Contour of {self.x} and {self.y} at the levels {levels}"


def contour(
    result: Scannable,
    x: str,
    y: str,
    *,
    levels: tuple[float, ...],
    points: int,
    progress: bool | None,
) -> Contour:
    """See `FitResult.contour`."""
    for name in (x, y):
        result.check_free(name)
    if x == y:
        message = f"a contour is of two parameters, not of {x!r} and {y!r}"
        raise UsageError(message)
    check_whole("points", points, minimum=4)
    if not is_a(levels, Iterable):
        message = f"levels={levels!r}: give several, e.g. (0.68, 0.95)"
        raise UsageError(message)
    for level in levels:
        check_level(level)
    result.require_valid()
    curves = {}
    for level in track(levels, total=len(levels), what="contours", enabled=progress):
        plane = _Plane(result, x, y, edge=chi2_quantile(level, 2) ** 0.5)
        try:
            curves[level] = np.array(list(_Walk(plane, points).points()))
        except _LostError as error:
            message = f"the contour of {x!r} and {y!r} at the level {level} {error}"
            raise ConvergenceError(message) from error
    return Contour(x, y, curves, (result.values[x], result.values[y]))


class _LostError(Exception):
    """The curve cannot be followed; says where."""


class _Plane:
    """sqrt(t) and its gradient in the plane of two parameters.

    Args:
        edge: sqrt(t) on the curve.

    Attributes:
        low, high: Limits of the two, ``(2,)``.
        scale: From the plane in which the covariance is a unit matrix to the parameters.
    """

    def __init__(self, result: Scannable, x: str, y: str, *, edge: float) -> None:
        self._result, self._names, self.edge = result, (x, y), edge
        index = [list(result.values).index(name) for name in self._names]
        self._index = index
        self.low, self.high = (side[index] for side in limits(result.like))
        self._near: Conditional | None = None
        self._last: tuple[Float, tuple[float, Float]] | None = None
        sizes = np.array([_size(result, name) for name in self._names])
        self.scale = _root(result.covariance[np.ix_(index, index)], sizes)

    def at(self, point: Float) -> tuple[float, Float] | None:
        """sqrt(t) and its gradient by the two parameters; None: there is no likelihood."""
        if self._last is not None and np.array_equal(self._last[0], point):
            return self._last[1]
        held = dict(zip(self._names, point.tolist(), strict=True))
        try:
            found = self._result.conditional(held, near=self._near)
        except DensityError:
            return None
        if not found.valid:
            return None
        self._near = found
        root = math.sqrt(max(2.0 * (found.nll - self._result.nll), 0.0))
        self._last = point.copy(), (root, found.gradient[self._index] / max(root, 1e-12))
        return self._last[1]

    def end(self, axis: int, sign: float) -> tuple[Float, bool] | None:
        """Where the region ends along an axis, and whether that is a limit; None: not found."""
        name = self._names[axis]
        value = self._result.end(name, edge=self.edge, sign=sign)
        if value is None:
            return None
        point = self._result.conditional({name: value}).theta[self._index]
        point[axis] = value
        return point, value == (self.low if sign < 0.0 else self.high)[axis]

    def outside(self, point: Float) -> bool:
        """Whether a limit is passed."""
        return bool((point < self.low).any() or (point > self.high).any())

    def text(self, point: Float) -> str:
        """The point in words."""
        return ", ".join(
            f"{name} = {value:.4g}" for name, value in zip(self._names, point, strict=True)
        )


def _size(result: Scannable, name: str) -> float:
    """The error of a parameter; where it has none, at a limit, how far sqrt(t) = 1 is."""
    error = result.errors[name]
    for sign in (1.0, -1.0):
        if not error > 0.0:
            end = result.end(name, edge=1.0, sign=sign)
            error = 0.0 if end is None else abs(end - result.values[name])
    return error if error > 0.0 else 1.0


def _root(covariance: Float, sizes: Float) -> Float:
    """A matrix L with ``L L^T`` the covariance; of the sizes alone, if that has none."""
    try:
        return np.asarray(np.linalg.cholesky(covariance), np.float64)
    except np.linalg.LinAlgError:
        return np.diag(sizes)


_AHEAD = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
"""Counter-clockwise along the sides of the rectangle within the limits: bottom, right, top, left.

Side k is where the parameter ``(k + 1) % 2`` has a limit, the upper one for k = 1 and 2.
"""


class _Walk:
    """Around the region, counter-clockwise.

    Args:
        points: How many make a full circle.
    """

    def __init__(self, plane: _Plane, points: int) -> None:
        self._plane = plane
        self._full = self._step = 2.0 * math.pi * plane.edge / points
        self._most = _LONGEST * points

    def points(self) -> Iterator[Float]:
        """The points of the curve, each once.

        Raises:
            _LostError: There is none, or it does not close.
        """
        first, side = self._start()
        yield first
        place = first
        for number in range(self._most):
            on, side = self._next(place, side)
            if number > 1 and self._passed(first, place, on):
                return
            yield on
            place = on
        message = f"does not close: {self._most} steps lead to {self._plane.text(place)}"
        raise _LostError(message)

    def _start(self) -> tuple[Float, int | None]:
        """A point of the curve, and the side on which it is; None: on no side."""
        at_limits = []
        for axis, sign in ((0, 1.0), (0, -1.0), (1, 1.0), (1, -1.0)):
            found = self._plane.end(axis, sign)
            if found is None:
                continue
            point, at_limit = found
            if not at_limit:
                return point, None
            at_limits.append((point, _side(axis, upper=sign > 0.0)))
        if not at_limits:
            message = "has no point: the likelihood does not fall so far"
            raise _LostError(message)
        return at_limits[0]

    def _next(self, place: Float, side: int | None) -> tuple[Float, int | None]:
        return self._along_curve(place) if side is None else self._along_side(place, side)

    def _passed(self, first: Float, before: Float, after: Float) -> bool:
        """Whether the step from `before` to `after` goes by the first point."""
        step, way = (np.linalg.solve(self._plane.scale, x - before) for x in (after, first))
        size = float(np.linalg.norm(step))
        along = float(way @ step) / size
        aside = math.sqrt(max(float(way @ way) - along**2, 0.0))
        return 0.0 < along <= 1.001 * size and aside < 0.5 * size

    # --- along the curve -------------------------------------------------------------------------

    def _along_curve(self, place: Float) -> tuple[Float, int | None]:
        """The next point of the curve, or where it meets a limit."""
        normal = self._normal(place)
        while self._step >= _SHORTEST * self._full:
            ahead = self._step * np.array([-normal[1], normal[0]])
            found = self._on_curve(place, self._plane.scale @ ahead, normal)
            if found is not None:
                self._step = min(self._full, 2.0 * self._step)
                return found
            self._step *= 0.5
        message = f"cannot be followed beyond {self._plane.text(place)}"
        raise _LostError(message)

    def _normal(self, place: Float) -> Float:
        found = self._plane.at(place)
        slope = np.zeros(2) if found is None else self._plane.scale.T @ found[1]
        size = np.linalg.norm(slope)
        if not size > 0.0:
            message = (
                f"cannot be followed beyond {self._plane.text(place)}: the likelihood is flat"
            )
            raise _LostError(message)
        return np.asarray(slope / size)

    def _on_curve(
        self, place: Float, ahead: Float, normal: Float
    ) -> tuple[Float, int | None] | None:
        """The point of the curve at the end of a step; None: the step is too long."""
        plane, point = self._plane, place + ahead
        moved = 0.0
        for _ in range(_CORRECTIONS):
            if plane.outside(point):
                return self._at_limit(place, point)
            found = plane.at(point)
            if found is None:
                return None
            root, slope = found[0], plane.scale.T @ found[1]
            rise = float(slope @ normal)
            if not rise > _TURN * float(np.linalg.norm(slope)):
                return None
            shift = (plane.edge - root) / rise
            off = abs(root - plane.edge) / plane.edge
            if off < _EXACT or (off < _SAME and abs(shift) < _CLOSE * self._step):
                return point, None
            moved += shift
            if abs(moved) > _FAR * self._step:
                return None
            point = point + plane.scale @ (shift * normal)
        return None

    def _at_limit(self, place: Float, beyond: Float) -> tuple[Float, int | None] | None:
        """Where the curve meets the limit that lies between two points."""
        plane, step = self._plane, beyond - place
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(step > 0.0, (plane.high - place) / step, (plane.low - place) / step)
        axis = int(np.nanargmin(np.where(step == 0.0, np.nan, shares)))
        point = place + float(shares[axis]) * step
        point[axis] = (plane.high if step[axis] > 0.0 else plane.low)[axis]
        other = 1 - axis
        for _ in range(_CORRECTIONS):
            found = None if plane.outside(point) else plane.at(point)
            if found is None or found[1][other] == 0.0:
                return None
            root, slope = found
            if abs(root - plane.edge) < _SAME * plane.edge:
                return point, _side(axis, upper=step[axis] > 0.0)
            point[other] += (plane.edge - root) / slope[other]
        return None

    # --- along a limit ---------------------------------------------------------------------------

    def _along_side(self, place: Float, side: int) -> tuple[Float, int | None]:
        """The next point of a side, or where the curve leaves it."""
        plane, ahead = self._plane, _AHEAD[side]
        size = self._full / float(np.linalg.norm(np.linalg.solve(plane.scale, ahead)))
        point = np.clip(place + size * ahead, plane.low, plane.high)
        found = plane.at(point)
        if found is not None and found[0] <= plane.edge:
            at_corner = bool(point[side % 2] in (plane.low[side % 2], plane.high[side % 2]))
            return point, (side + 1) % 4 if at_corner else side
        inside, beyond = place, point
        while True:
            middle = 0.5 * (inside + beyond)
            if np.array_equal(middle, inside) or np.array_equal(middle, beyond):
                return inside, None
            found = plane.at(middle)
            if found is not None and abs(found[0] - plane.edge) < _SAME * plane.edge:
                return middle, None
            if found is not None and found[0] < plane.edge:
                inside = middle
            else:
                beyond = middle


def _side(axis: int, *, upper: bool) -> int:
    """The number of the side on which a parameter is at a limit."""
    return (1 if upper else 3) if axis == 0 else (2 if upper else 0)
