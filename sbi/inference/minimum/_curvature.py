"""Second derivatives and their inverse, which follows when the derivatives are updated."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rootml._internal.types import Float
from rootml.sbi.inference.minimum._minimise import invert

_CURVED = 1e-12  # changes of the gradient along a step that are smaller teach nothing
_FEW = 4  # parameters are taken out of a known inverse one by one
_SMALL = 1e-9  # of a variance: what is left without others is rounding

Mask = npt.NDArray[np.bool_]


class Curvature:
    """A Hessian, with the inverse for some parameters once it was asked for.

    Args:
        hessian: ``(parameter, parameter)``.
    """

    def __init__(self, hessian: Float) -> None:
        self.hessian = hessian
        self._known: tuple[Mask, Float] | None = None

    def inverse(self, moving: Mask) -> Float | None:
        """The inverse for the parameters that move, 0 for others; None: it is not positive."""
        if self._known is None:
            found = self._computed(moving)
            if found is not None:
                self._known = moving, found
            return found
        mask, inverse = self._known
        if (mask == moving).all():
            return inverse
        gone = np.flatnonzero(mask & ~moving)
        if (moving & ~mask).any() or len(gone) > _FEW:
            return self._computed(moving)
        for k in gone:
            column, size = inverse[:, k], inverse[k, k]
            inverse = inverse - column[:, None] * column / size
            inverse[k] = inverse[:, k] = 0.0
        fine = np.diag(inverse)[moving] > _SMALL * np.diag(self._known[1])[moving]
        return inverse if fine.all() else self._computed(moving)

    def _computed(self, moving: Mask) -> Float | None:
        where = np.flatnonzero(moving)
        found = invert(self.hessian[np.ix_(where, where)])
        if found is None:
            return None
        inverse = np.zeros_like(self.hessian)
        inverse[np.ix_(where, where)] = found
        return inverse

    def updated(self, step: Float, change: Float, moving: Mask) -> Curvature:
        """After a step and the change of the gradient along it, by the BFGS formula.

        Args:
            moving: Parameters of which the inverse is likely to be asked for next.
        """
        curved, ahead = float(change @ step), self.hessian @ step
        expected = float(step @ ahead)
        if not (curved > _CURVED * max(expected, 1e-300) and curved > _CURVED and expected > 0.0):
            return self
        rise, fall = change[:, None] * (change / curved), ahead[:, None] * (ahead / expected)
        other = Curvature(self.hessian + (rise - fall))
        inverse = self.inverse(moving)
        if inverse is not None and not step[~moving].any():
            back = inverse @ change / curved  # change is masked: the inverse is 0 for the others
            size = 1.0 / curved + float(change @ back) / curved
            cross = back[:, None] * step
            square = step[:, None] * (size * step)
            other._known = moving, inverse - cross - cross.T + square
        return other
