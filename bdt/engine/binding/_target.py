"""The processors that kernels are made for, and what the emitters may use there."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from rootml._internal.optional import optional_import
from rootml.errors import UsageError, nearest

CPUS = {
    "avx512vbmi": ("icelake-server", "x86_64"),
    "avx512": ("skylake-avx512", "x86_64"),
    "avx2": ("haswell", "x86_64"),
    "x86-64": ("x86-64-v2", "x86_64"),
    "neon": ("neoverse-n1", "aarch64"),
}
"""Names of instruction sets for `isa=`: the processor that stands for each, its architecture."""


@dataclass(frozen=True)
class Target:
    """A processor.

    Attributes:
        name: The set of instructions the emitters use: a key of `CPUS`, or "generic".
        cpu: LLVM's name of the processor.
        triple: LLVM's name of the system.
        features: LLVM's list of features, ``"+avx2,-avx512f,..."``.
        gfni: Whether 8 x 8 bits are transposed by one instruction.
    """

    name: str
    cpu: str
    triple: str
    features: str = field(repr=False)
    gfni: bool = False

    @property
    def vbmi(self) -> bool:
        """64 bytes looked up in a register at once."""
        return self.name == "avx512vbmi"

    @property
    def avx512(self) -> bool:
        """512-bit registers with masks."""
        return self.name.startswith("avx512")

    def __str__(self) -> str:
        return f"{self.name}{' + gfni' if self.gfni else ''} ({self.cpu})"


@cache
def host_target(isa: str | None = None) -> Target:
    """This machine, or as much of it as the set of instructions `isa` names.

    Raises:
        UsageError: No such set, or this machine lacks it.
    """
    binding = _binding()
    triple = binding.get_default_triple()
    cpu = binding.get_host_cpu_name()
    features = binding.get_host_cpu_features()
    best = _best(triple, {name for name, there in features.items() if there})
    if isa is None:
        text = features.flatten()
        return Target(best, cpu, triple, text, gfni=best == "avx512vbmi" and "+gfni" in text)
    if isa not in CPUS:
        message = f"isa={isa!r}; one of {nearest(isa, CPUS)}, or None for this machine's best"
        raise UsageError(message)
    order = [name for name, (_, machine) in CPUS.items() if triple.startswith(machine)]
    if isa not in order or best not in order or order.index(isa) < order.index(best):
        message = f"isa={isa!r}: this machine ({cpu}) has {best!r} at most"
        raise UsageError(message)
    return named_target(isa, triple)


def named_target(isa: str, triple: str) -> Target:
    """A set of instructions on some system, for compiling there or for it."""
    cpu, _ = CPUS[isa]
    return Target(isa, cpu, triple, "", gfni=isa == "avx512vbmi")


def _best(triple: str, features: set[str]) -> str:
    if triple.startswith("x86_64"):
        if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= features:
            return "avx512vbmi" if "avx512vbmi" in features else "avx512"
        return "avx2" if "avx2" in features else "x86-64"
    if triple.startswith(("aarch64", "arm64")):
        return "neon"
    return "generic"


def require_llvm() -> None:
    """See that llvmlite is there.

    Raises:
        MissingPackageError: It is not; says what to install, and what works without it.
    """
    _binding()


@cache
def _binding():  # type: ignore[no-untyped-def]
    """`llvmlite.binding`, initialised once.

    Raises:
        MissingPackageError: llvmlite is not installed.
    """
    try:
        binding = optional_import(
            "llvmlite.binding", feature="the compiled engine of rootml.bdt", extra="bdt"
        )
    except ImportError as error:
        error.args = (f"{error}; or compile(engine='numpy'), slower and as exact",)
        raise
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding
