"""From a density to an extended pdf with constraints, the same for two routes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rootml.sbi.roofit._workshop import Workshop


def extended(shop: Workshop, name: str, density: Any, total: Any) -> Any:
    """``density`` as a pdf of integral 1 that expects `total` events."""
    title = "density over that of the reference, as a pdf"
    # the reference's density is a factor without parameters: the pdf is normalised as it is
    wrapped = shop.make("RooWrapperPdf", f"{name}_pdf", title, density, True)
    return shop.make("RooExtendPdf", name, f"extended {title}", wrapped, total)


def with_constraints(shop: Workshop, name: str, pdf: Any, constraints: Sequence[Any]) -> Any:
    """The product with the constraints."""
    if not constraints:
        return pdf
    return shop.make(
        "RooProdPdf",
        name,
        "events and auxiliary measurements",
        shop.arguments([pdf, *constraints]),
    )
