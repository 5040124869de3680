"""The part of the C++ header that makes predictions from margins."""

from __future__ import annotations

from rootml.bdt._forest import Forest
from rootml.errors import UnsupportedModelError


def link_code(forest: Forest, scale: str) -> str:
    """From `out`, the margins, to predictions in place; `scale` is `Forest.link_scale` in C++."""
    each = {
        # XGBoost calls the double exp in aft_obj.cu, the float one elsewhere
        "exp": "static_cast<output_type>(std::exp(static_cast<double>(m)))"
        if forest.objective == "survival:aft"
        else "std::exp(m)",
        "hinge": "output_type(m > 0 ? 1 : 0)",
        "identity": "m",
        "sigmoid": _sigmoid(forest, scale),
        "signed_square": "m * std::abs(m)",
        "softplus": "std::log1p(std::exp(m))",
        "tanh": "output_type(2) / (1 + std::exp(output_type(-2) * m)) - 1",
    }
    if forest.link in each:
        return (
            "for (std::size_t k = 0; k < num_outputs; ++k) {\n"
            "      const output_type m = out[k];\n"
            f"      out[k] = {each[forest.link]};\n    }}"
        )
    if forest.link == "argmax":
        return _ARGMAX
    if forest.link == "softmax":
        total = "double" if forest.library == "xgboost" else "output_type"
        scaled = f"for (std::size_t k = 0; k < num_outputs; ++k) out[k] *= {scale};\n    "
        return (scaled if forest.link_scale != 1 else "") + _SOFTMAX.format(total=total)
    if forest.link in {"increments", "sorted"}:
        return _INCREMENTS if forest.link == "increments" else _SORTED
    message = f"to_cpp() of a forest with the link {forest.link!r}"
    raise UnsupportedModelError(message)


def _sigmoid(forest: Forest, scale: str) -> str:
    if forest.library == "xgboost":
        return "1.0f / (std::exp(-m < 88.7f ? -m : 88.7f) + 1.0f + 1e-16f)"
    if forest.library == "onnx":
        return "m < 0 ? 1 - 1 / (1 + std::exp(-std::abs(m))) : 1 / (1 + std::exp(-std::abs(m)))"
    return f"1 / (1 + std::exp(-{scale} * m))"


_ARGMAX = """\
std::size_t best = 0;
    for (std::size_t k = 1; k < num_outputs; ++k)
      if (out[best] < out[k]) best = k;
    out[0] = static_cast<output_type>(best);"""

_SOFTMAX = """\
output_type maximum = out[0];
    for (std::size_t k = 1; k < num_outputs; ++k) maximum = out[k] > maximum ? out[k] : maximum;
    {total} total = 0;
    for (std::size_t k = 0; k < num_outputs; ++k) total += out[k] = std::exp(out[k] - maximum);
    for (std::size_t k = 0; k < num_outputs; ++k) out[k] /= static_cast<output_type>(total);"""

_INCREMENTS = """\
for (std::size_t k = 1; k < num_outputs; ++k) {
      const output_type m = out[k];
      const output_type positive = m > 0 ? m : output_type(0);
      const output_type step = positive + std::log1p(std::exp(-std::abs(m)));
      out[k] = out[k - 1] + (output_type(1e-6) + step);
    }"""

_SORTED = """\
for (std::size_t k = 1; k < num_outputs; ++k) {
      const output_type m = out[k];
      std::size_t at = k;
      for (; at > 0 && out[at - 1] > m; --at) out[at] = out[at - 1];
      out[at] = m;
    }"""
