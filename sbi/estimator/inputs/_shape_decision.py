"""`ShapeDecision`: what held-out events say about one learned shape."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ShapeDecision:
    """Whether held-out events show that a nuisance changes the shape of a process.

    Sizes are the RMS of log(variation / nominal) over nominal events: 0.02 is a change of the
    density by 2 % in the mean. N observed events of the process are sensitive to sizes above
    ``1 / sqrt(N)``: an effect that may have been missed matters if ``missed * sqrt(N)`` is not
    small against 1.

    Attributes:
        process: Name of the process.
        nuisance: Name of the nuisance parameter.
        kept: Whether the learned shape is used. Otherwise the ratios of the variations are those
            of the nominal density.
        significance: Significance, in standard deviations, of the learned shape on held-out
            events, or of the clearest change of the mean or the width of a single input, whichever
            is larger; of its odd or its even part.
        gain: Increase of the held-out log-likelihood by the learned shape.
        gain_error: Statistical error of `gain`.
        size: Size of the shape that is used; 0 if it was dropped.
        missed: Size of the smallest effect that would have been kept with a probability of 95 %.
        parts: Which parts are used: "odd", "even", or both.
    """

    process: str
    nuisance: str
    kept: bool
    significance: float
    gain: float
    gain_error: float
    size: float
    missed: float
    parts: tuple[str, ...] = ()
