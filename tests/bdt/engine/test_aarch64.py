"""The kernels for aarch64, run by an emulator on tables and rows that this machine made."""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.metadata
import mmap
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bdt_forests import random_forest, require_llvm_for_aarch64, rows_on_thresholds, walk
from numpy.typing import NDArray

from rootml.bdt import Forest, load
from rootml.bdt._inputs import Table
from rootml.bdt.engine._target import SMALL_BLOCK, named_target
from rootml.bdt.engine.binding import _jit, _llvm
from rootml.bdt.engine.binding._llvm import LlvmEngine, kernel_ir
from rootml.errors import MissingPackageError

TOOLS = ("aarch64-linux-gnu-gcc", "qemu-aarch64")
BASE, SIZE = 0x10_0000_0000, 64 << 20
DRIVER = r"""
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
void predict(void*, void*, void*);
void score_rows(void*, void*, void*, int64_t, void*) __attribute__((weak));
int main(int count, char** words) {  /* file, model, work, job, x, rows, few */
  uint64_t at[8];
  void* base = (void*)0x1000000000;
  int file = open(words[1], O_RDWR);
  if (mmap(base, 64 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) != base)
    return 3;
  for (int i = 2; i < count; ++i) at[i] = strtoull(words[i], 0, 10);
  predict((void*)at[2], (void*)at[3], (void*)at[4]);
  if (score_rows) score_rows((void*)at[2], (void*)at[3], (void*)at[5], at[6], (void*)at[7]);
  return 0;
}
"""


class Arena:
    """Memory at the same address here and in the emulated process."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(SIZE))
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        self._munmap = libc.munmap
        self._munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        descriptor = os.open(path, os.O_RDWR)
        access, noreplace = mmap.PROT_READ | mmap.PROT_WRITE, 0x100000
        found = libc.mmap(BASE, SIZE, access, mmap.MAP_SHARED | noreplace, descriptor, 0)
        os.close(descriptor)
        assert found == BASE
        self._bytes = np.ctypeslib.as_array((ctypes.c_uint8 * SIZE).from_address(BASE))
        self._next = 64

    def space(self, size: int) -> NDArray[np.uint8]:
        """`size` bytes of zeros, aligned."""
        first = self._next
        self._next = -(-(first + size + 128) // 64) * 64
        made: NDArray[np.uint8] = self._bytes[first : first + size]
        made[:] = 0
        return made

    def copy(self, array: NDArray[Any]) -> NDArray[Any]:
        """The array, there."""
        raw = self.space(max(array.nbytes, 1))[: array.nbytes].view(array.dtype)
        made: NDArray[Any] = raw.reshape(array.shape)
        made[...] = array
        return made

    def close(self) -> None:
        """Give the memory back."""
        self._munmap(BASE, SIZE)


def require_tools() -> None:
    """Skip where tools are absent; in CI, which installs them, that is a failure."""
    require_llvm_for_aarch64()
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent and os.environ.get("CI") == "true":
        pytest.fail(f"{', '.join(absent)} not installed")
    if absent:
        pytest.skip(f"{', '.join(absent)} not installed")


@pytest.fixture
def emulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function: margins of rows by the kernels for aarch64: in blocks, and by lanes or None."""
    require_tools()
    arena = Arena(tmp_path / "arena")

    class Workspace(_llvm.Workspace):
        def __init__(self, *sizes: int) -> None:
            super().__init__(1)
            self.parts = [arena.space(-(-max(size, 1) // 64) * 64) for size in sizes]
            self.addresses = arena.copy(np.array([p.ctypes.data for p in self.parts], np.int64))
            self.pointer = self.addresses.ctypes.data

    monkeypatch.setattr(_llvm, "aligned", arena.copy)
    monkeypatch.setattr(_llvm, "Workspace", Workspace)
    (tmp_path / "driver.c").write_text(DRIVER)

    def score(
        forest: Forest, rows: NDArray[Any], block: int = 0, method: str | None = None
    ) -> tuple[NDArray[Any], NDArray[Any] | None]:
        target = named_target("neon", "aarch64-unknown-linux-gnu")
        target = dataclasses.replace(target, block=block or target.best_block)
        engine = object.__new__(LlvmEngine)  # only its tables: it cannot run here
        engine.target = target
        engine.prepare(forest, method)
        model = arena.copy(engine._tables())
        engine._model_pointer = model.ctypes.data
        memory = engine._new_memory()
        with np.errstate(over="ignore"):
            x = arena.copy(np.ascontiguousarray(rows, forest.input_dtype))
        out = arena.copy(np.full((len(x), forest.num_outputs), 7, forest.dtype))
        few = arena.copy(out)
        job = arena.copy(Table(x).job(out))
        code = _jit.compile_object(kernel_ir(engine.shape, target), target)
        (tmp_path / "kernels.o").write_bytes(code)
        command = [TOOLS[0], "-O1", "-static", "-no-pie", "-o", "run", "driver.c", "kernels.o"]
        subprocess.run([*command, "-lm"], cwd=tmp_path, check=True)
        numbers = [
            model.ctypes.data, memory.pointer, job.ctypes.data, x.ctypes.data, min(len(x), 16),
            few.ctypes.data,
        ]  # fmt: skip
        command = [TOOLS[1], "./run", "arena", *map(str, numbers)]
        subprocess.run(command, cwd=tmp_path, check=True)
        return out.copy(), few[:16].copy() if engine.shape.rows else None

    yield score
    arena.close()


FORESTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "depth 6": {"depth": 6, "full": 1.0, "thresholds": 255},
    "depth 8, doubles": {"depth": 8, "full": 0.95, "trees": 5, "input_dtype": np.float64,
                         "dtype": np.float64, "comparison": "<="},
    "sets": {"sets": 20, "most_category": 900, "depth": 6},
    "classes": {"outputs": 3, "trees": 21},
    "irregular": {"depth": 30, "full": 0.52, "trees": 15, "thresholds": 100},
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n == "plain" else pytest.mark.slow) for n in FORESTS],
)
def test_random_forests(name: str, emulated: Any) -> None:
    forest = random_forest(np.random.default_rng(3), **FORESTS[name])
    x = rows_on_thresholds(np.random.default_rng(1), forest, 60)
    expected = walk(forest, x)
    many = np.tile(x, (300 // len(x) + 1, 1))
    for block, method in ((0, None), (SMALL_BLOCK, None), (0, "traversal")):
        found, few = emulated(forest, many, block, method)
        wanted = np.tile(expected, (len(many) // len(x), 1))
        assert np.array_equal(found, wanted, equal_nan=True), (block, method)
        assert few is None or np.array_equal(few, wanted[:16], equal_nan=True), (block, method)


def test_a_model_of_xgboost(emulated: Any) -> None:
    """The margins of the library on x86, bit by bit."""
    xgboost = pytest.importorskip("xgboost")
    rng = np.random.default_rng(2)
    x = rng.normal(size=(1500, 6)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    y = np.nan_to_num(x[:, 0]) * np.nan_to_num(x[:, 1]) > 0
    options = {"objective": "binary:logistic", "max_depth": 6, "nthread": 1}
    booster = xgboost.train(options, xgboost.DMatrix(x, y), 30)
    found, few = emulated(load(booster), x)
    wanted = booster.predict(xgboost.DMatrix(x), output_margin=True)
    assert found[:, 0].tobytes() == wanted.tobytes()
    assert few is not None
    assert few[:, 0].tobytes() == wanted[:16].tobytes()


def test_an_llvmlite_that_aborts(monkeypatch: pytest.MonkeyPatch) -> None:
    """0.47 and earlier end the process in LLVM's code generator; here it is an error."""
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.47.1")
    _jit.check_version(named_target("avx2", "x86_64-unknown-linux-gnu"))
    with pytest.raises(MissingPackageError, match=r"llvmlite 0\.47\.1 cannot .*llvmlite>=0\.48"):
        _jit.check_version(named_target("neon", "aarch64-unknown-linux-gnu"))
