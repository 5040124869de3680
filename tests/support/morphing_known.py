"""A correction that is right by construction, for tests of reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rootml.sbi.morphing.inference._rows import Names, Rows

Float = npt.NDArray[np.float64]


@dataclass
class Known:
    """A correction that is right by construction: x = 2 x + c, and a factor on the weights."""

    names: Names
    slope: float = 2.0
    limit: float = 5.0

    @dataclass
    class Outcome:
        values: Float
        reason: npt.NDArray[np.uint8]

    @property
    def kinematics(self) -> Known:
        return self

    @property
    def trained_on(self) -> dict[str, Any]:
        return {}

    def weights(self, conditions: Float) -> Float:
        """Exponentials of mean 1 become exponentials of mean 2."""
        return np.asarray(0.5 * np.exp(np.minimum(conditions[:, 0], 20) / 2))

    def transform(self, rows: Rows) -> Known.Outcome:
        reason = (rows.conditions[:, 0] > self.limit).astype(np.uint8)
        moved = self.slope * rows.features + rows.conditions[:, :1]
        return Known.Outcome(np.where(reason[:, None] > 0, rows.features, moved), reason)
