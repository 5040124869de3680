"""The processor of this machine, and LLVM's code generator."""

from __future__ import annotations

from functools import cache

from rootml._internal.optional import optional_import
from rootml.bdt.engine._target import CPUS, Target, named_target
from rootml.errors import UsageError, nearest


@cache
def host_target(isa: str | None = None) -> Target:
    """This machine, or as much of it as the set of instructions `isa` names.

    Raises:
        UsageError: No such set, or this machine lacks it.
    """
    binding = llvm_binding()
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
    llvm_binding()


@cache
def llvm_binding():  # type: ignore[no-untyped-def]
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
