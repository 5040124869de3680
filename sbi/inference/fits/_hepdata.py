"""Results as tables of HEPData, for `hepdata_lib.Submission.add_table`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rootml._internal.optional import optional_import

if TYPE_CHECKING:
    import hepdata_lib


def table(
    name: str,
    description: str,
    *,
    independent: Mapping[str, Any],
    dependent: Mapping[str, tuple[Any, Mapping[str, Any]]],
    digits: int,
) -> hepdata_lib.Table:
    """A `hepdata_lib.Table`.

    Args:
        name, description: As HEPData shows them.
        independent: Columns with the places: numbers or names.
        dependent: ``{quantity: (values, {source: errors})}``; errors `(row,)`, or `(row, 2)` for
            errors below (negative) and above.
        digits: Significant digits of errors, and of values without errors.

    References:
        https://hepdata-lib.readthedocs.io
    """
    module = optional_import("hepdata_lib", feature="to_hepdata()", extra="exchange")
    made = module.Table(name)
    made.description = description
    made.location = ""
    for quantity, places in independent.items():
        column = _variable(module, quantity, places, digits, is_independent=True)
        made.add_variable(column)
    for quantity, (values, errors) in dependent.items():
        column = _variable(module, quantity, values, digits, is_independent=False)
        for source, each in errors.items():
            sizes = np.asarray(each, dtype=np.float64)
            uncertainty = module.Uncertainty(source, is_symmetric=sizes.ndim == 1)
            uncertainty.values = sizes.tolist()
            column.add_uncertainty(uncertainty)
        made.add_variable(column)
    return made


def _variable(
    module: Any, quantity: str, values: Any, digits: int, *, is_independent: bool
) -> Any:
    """A column; ``"pt [GeV]"`` has the units GeV."""
    name, bracket, unit = quantity.partition(" [")
    column = module.Variable(
        name, is_independent=is_independent, is_binned=False,
        units=unit.removesuffix("]") if bracket else "",
    )  # fmt: skip
    column.digits = digits
    column.values = np.asarray(values).tolist()
    return column
