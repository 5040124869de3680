"""Machine code for other processors, judged by its instructions and by LLVM's own reader."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from bdt_forests import random_forest, require_llvm_for_aarch64

from rootml.bdt import Forest
from rootml.bdt.engine._target import named_target
from rootml.bdt.engine.binding import _jit
from rootml.bdt.engine.binding._host import host_target
from rootml.bdt.engine.binding._llvm import LlvmEngine, kernel_ir
from rootml.errors import UsageError

LINUX = {"neon": "aarch64-unknown-linux-gnu"}


@pytest.fixture(scope="module")
def forest() -> Forest:
    return random_forest(
        np.random.default_rng(0), depth=4, full=1.0, thresholds=60, sets=9, most_category=400,
    )  # fmt: skip


def machine_code(forest: Forest, isa: str) -> tuple[str, bytes]:
    target = named_target(isa, LINUX.get(isa, "x86_64-unknown-linux-gnu"))
    target = dataclasses.replace(target, block=target.best_block)
    engine = object.__new__(LlvmEngine)  # only its planning, for a machine that is not this one
    engine.target = target
    engine.prepare(forest, None)
    text = kernel_ir(engine.shape, target)
    return _jit.assembly(text, target), _jit.compile_object(text, target)


@pytest.mark.parametrize(
    ("isa", "there", "absent"),
    [
        ("neon", ["tbl", "zip1", "bif|bit|bsl"], ["zmm"]),
        ("avx512vbmi", ["vpermb", "vpternlog", "vgf2p8affineqb", "vpermi2ps|vpermt2ps"], []),
        ("avx512", ["vpternlog", "vpermps"], ["vpermb", "vgf2p8affineqb"]),
        ("avx2", ["vpshufb", "ymm"], ["zmm", "vpternlog"]),
        ("x86-64", ["pshufb"], ["ymm", "zmm"]),
    ],
)
def test_code_uses_what_the_processor_has(
    forest: Forest, isa: str, there: list[str], absent: list[str]
) -> None:
    if isa == "neon":
        require_llvm_for_aarch64()
    text, machine = machine_code(forest, isa)
    words = set(text.replace(",", " ").replace("%", " ").split())
    for choice in there:
        assert any(
            any(word.startswith(one) for word in words) for one in choice.split("|")
        ), choice  # fmt: skip
    for name in absent:
        assert not any(word.startswith(name) for word in words), name
    assert machine[:4] == b"\x7fELF"
    assert int.from_bytes(machine[18:20], "little") == (183 if isa == "neon" else 62)


def test_instructions_that_are_not_there_are_refused() -> None:
    with pytest.raises(UsageError, match="avx1024"):
        host_target("avx1024")
    other = "avx2" if "aarch64" in host_target().triple else "neon"
    with pytest.raises(UsageError, match="this machine"):
        host_target(other)
