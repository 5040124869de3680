"""The processors that kernels are made for, and what the emitters may use there."""

from __future__ import annotations

from dataclasses import dataclass, field

CPUS = {
    "avx512vbmi": ("icelake-server", "x86_64"),
    "avx512": ("skylake-avx512", "x86_64"),
    "avx2": ("haswell", "x86_64"),
    "x86-64": ("x86-64-v2", "x86_64"),
    "neon": ("neoverse-n1", "aarch64"),
}
"""Names of instruction sets for `isa=`: the processor that stands for each, its architecture."""


BLOCKS = {"avx2": 256, "x86-64": 128, "neon": 256}
"""Events of a block, 512 elsewhere: a mask is one register (neon: two of its many)."""
SMALL_BLOCK = 128
"""For batches of few rows."""


@dataclass(frozen=True)
class Target:
    """A processor.

    Attributes:
        name: The set of instructions the emitters use: a key of `CPUS`, or "generic".
        cpu: LLVM's name of the processor.
        triple: LLVM's name of the system.
        features: LLVM's list of features, ``"+avx2,-avx512f,..."``.
        gfni: Whether 8 x 8 bits are transposed by one instruction.
        block: Events that are evaluated at once: one bit of a mask each.
    """

    name: str
    cpu: str
    triple: str
    features: str = field(repr=False)
    gfni: bool = False
    block: int = 512

    @property
    def vbmi(self) -> bool:
        """64 bytes looked up in a register at once."""
        return self.name == "avx512vbmi"

    @property
    def avx512(self) -> bool:
        """512-bit registers with masks."""
        return self.name.startswith("avx512")

    @property
    def best_block(self) -> int:
        """Events of a mask that fills one register."""
        return BLOCKS.get(self.name, 512)

    def __str__(self) -> str:
        return f"{self.name}{' + gfni' if self.gfni else ''} ({self.cpu})"


def named_target(isa: str, triple: str) -> Target:
    """A set of instructions on some system, for compiling there or for it."""
    cpu, _ = CPUS[isa]
    return Target(isa, cpu, triple, "", gfni=isa == "avx512vbmi")
