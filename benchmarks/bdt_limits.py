"""What bounds the kernels of forests: instructions by the ports that run them, and random reads.

    python benchmarks/bdt_limits.py                 needs g++ for the reads
    python benchmarks/bdt_limits.py --clock 2.6     the processor's clock in GHz

A kernel's machine code holds each piece of a tree's work twice (before and in its loop, or in and
behind it), so half of its instructions are those of a tree. Ports are those of Intel's processors
since Ice Lake: two units of 512 bits, one of which shuffles; three of 256 bits, two of which do.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from harness_bdt.models import SPECS, model_path

import rootml.bdt
from rootml._internal.reprs import Grid
from rootml.bdt.engine.binding._host import host_target
from rootml.bdt.engine.binding._jit import assembly
from rootml.bdt.engine.binding._llvm import LlvmEngine
from rootml.bdt.engine.codegen._emit_trees import emit_full
from rootml.bdt.engine.codegen._ir import ir

SHUFFLE = re.compile(r"vp?(shuf|unpck|perm|insert|extract|broadcasti|gf2p8|testm|align)")
PORTS = {"avx512vbmi": (2, 1), "avx2": (3, 2)}
"""Vector units, and those among them that shuffle."""
READS = r"""
#include <immintrin.h>
#include <cstdint>
#include <cstdlib>
#include <ctime>
extern "C" double reads(long masks, long lines, int times) {
  char* p = static_cast<char*>(std::aligned_alloc(64, 64 * masks));
  char* tables = static_cast<char*>(std::aligned_alloc(64, 64 * (lines + 1)));
  const long n = 255000;
  uint32_t* at = static_cast<uint32_t*>(std::malloc(4 * n));
  for (long i = 0; i < 64 * masks; ++i) p[i] = static_cast<char>(i);
  for (long i = 0; i < 64 * lines; ++i) tables[i] = static_cast<char>(i);
  uint64_t x = 1;
  for (long i = 0; i < n; ++i)
    at[i] = (((x = x * 6364136223846793005u + 1442695040888963407u) >> 33) % masks) * 64;
  double best = 1e9;
  __m512i sum = _mm512_setzero_si512();
  for (int t = 0; t < times; ++t) {
    const clock_t start = clock();
    for (int k = 0; k < 8; ++k)
      for (long i = 0; i < n; i += 8) {
        for (int j = 0; j < 8; ++j) sum = _mm512_xor_si512(sum, _mm512_load_si512(p + at[i + j]));
        if (lines) sum = _mm512_xor_si512(sum, _mm512_load_si512(tables + i * lines / n * 64));
      }
    const double each = double(clock() - start) / CLOCKS_PER_SEC / 8 / n * 1e9;
    if (each < best) best = each;
  }
  volatile int keep = _mm512_reduce_add_epi32(sum);
  (void)keep;
  std::free(p); std::free(tables); std::free(at);
  return best;
}
"""


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clock", type=float, default=3.0)
    clock = parser.parse_args().clock
    rows = [_counted(name, isa, clock) for isa in PORTS for name in "ABC"]
    print(Grid(("forest", "", "instructions", "vector", "shuffles", "ns by ports"), rows))
    print(Grid(("masks read at random", "beside tables", "ns each", "ns per event"), _reads()))


def _counted(name: str, isa: str, clock: float) -> tuple[str, ...]:
    """Instructions of a tree, and the time of all trees that vector units allow, per event."""
    target = host_target(isa)
    target = dataclasses.replace(target, block=target.best_block)
    engine = LlvmEngine.__new__(LlvmEngine)
    engine.target = target
    engine.prepare(rootml.bdt.load(model_path(name)), "masks")
    shape, module = engine.shape, ir.Module("limits")
    module.triple = target.triple
    kernel = emit_full(
        module, target, shape.order, shape.leaves, max(shape.kinds), vectors=False,
        numbered=shape.numbered,
    )  # fmt: skip
    kernel.linkage = ""
    names = [line.split()[0] for line in assembly(str(module), target).splitlines()
             if line.startswith("\t") and not line.startswith("\t.")]  # fmt: skip
    vector = [each for each in names if each.startswith("v") and not each.startswith("vmov")]
    shuffles = [each for each in vector if SHUFFLE.match(each)]
    units, shufflers = PORTS[isa]
    cycles = max(len(vector) / units, len(shuffles) / shufflers) / 2
    time = cycles / clock / target.block * SPECS[name].trees
    counts = (f"{len(each) / 2:.0f}" for each in (names, vector, shuffles))
    return (SPECS[name].text, isa, *counts, f"{time:.0f}")


def _reads() -> list[tuple[str, ...]]:
    """255,000 masks of 64 bytes, as 1000 trees of depth 8 read them for 512 events."""
    with tempfile.TemporaryDirectory() as folder:
        reads = _compiled(Path(folder))
        found: list[tuple[str, ...]] = []
        for megabytes in (0.1, 0.4, 0.8, 1.6):
            for tables in (0.0, 1.5, 2.0):
                each = reads(int(megabytes * 2**20) // 64, int(tables * 2**20) // 64, 7)
                cells = f"{megabytes} MB", f"{tables} MB", f"{each:.2f}"
                found.append((*cells, f"{each * 255_000 / 512:.0f}"))
        return found


def _compiled(folder: Path) -> Any:
    source, library = folder / "reads.cpp", folder / "reads.so"
    source.write_text(READS)
    subprocess.run(
        ["g++", "-O3", "-mavx512f", "-shared", "-fPIC", str(source), "-o", str(library)],
        check=True,
    )
    function = ctypes.CDLL(str(library)).reads
    function.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_int]
    function.restype = ctypes.c_double
    return function


if __name__ == "__main__":
    main()
