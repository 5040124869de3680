"""The bias of a fit, measured on held-out events: whatever the error of the ratios is."""

from __future__ import annotations

import math

from rootml.sbi.diagnostics._fit_response import FitResponse
from rootml.sbi.diagnostics._report import SHIFT, Check
from rootml.sbi.diagnostics._verdict import Finding


def shift_checks(response: FitResponse) -> list[Finding]:
    """One check per parameter of interest: does the fit of held-out events give their truth?

    The events of all processes, weighted to the yields of the fit, have a gradient of 0 in the
    mean if the ratios are right. What it is instead, times the covariance of the fit, is the bias.
    """
    found = []
    for shift in response.shifts():
        error = max(shift.error, 1e-300)
        subject = f"{shift.parameter}, {shift.point}" if shift.point else shift.parameter
        check = Check(
            "fits", subject, SHIFT, shift.value, error, 0.0,
            math.erfc(abs(shift.value) / error / math.sqrt(2.0)),
            remark="a fit of the held-out events is biased by the ratios",
        )  # fmt: skip
        found.append(Finding(check, 1, error, kind="fit", variation=bool(shift.point)))
    return found
