"""Loops in machine code where llvmlite is installed; who calls them has the same in NumPy.

A kernel is written as LLVM IR, because loops compiled from Python do not become the instructions
that are wanted. Compiling takes some 30 ms, and importing llvmlite 50: a `Kernel` is compiled when
a process has done so much without it that it pays.

The environment variable ``ROOTML_COMPILE=0`` switches all of them off.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import logging
import os
import platform
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

logger = logging.getLogger(__name__)

_compiling = threading.Lock()
"""Nobody waits for the thread that compiles: it is gone in a process that was forked meanwhile.

LLVM's own locks stay closed there. So does this one, and NumPy does all the work.
"""
_MIN_AARCH64 = (0, 48)
"""The first llvmlite that makes code for aarch64: of earlier ones LLVM ends the process."""


class Kernel:
    """A function in machine code, from the moment on when it pays.

    Args:
        make_ir: Gives the IR; not called where it cannot be compiled.
        name: Of the function in it, which gives the GIL away.
        arguments: Their ctypes.
        result: Its ctype; None: it gives nothing.
        after: Elements that are worked on without it first.

    >>> Kernel(lambda: "", "f", [], None, after=100).function(1) is None
    True
    """

    def __init__(
        self,
        make_ir: Callable[[], str],
        name: str,
        arguments: Sequence[Any],
        result: Any,
        *,
        after: int,
    ) -> None:
        self._make_ir, self._name = make_ir, name
        self._type = ctypes.CFUNCTYPE(result, *arguments)
        self._left = after
        self._function: Callable[..., Any] | None = None
        self._tried = False

    def function(self, elements: int) -> Callable[..., Any] | None:
        """The function to work on `elements` elements; None: without it this time."""
        if self._tried:
            return self._function
        self._left -= elements
        if self._left > 0 or not _compiling.acquire(blocking=False):
            return None
        try:
            if not self._tried:
                self._function = self._compile()
                self._tried = True
        finally:
            _compiling.release()
        return self._function

    def _compile(self) -> Callable[..., Any] | None:
        binding = _binding()
        if binding is None:
            return None
        try:
            machine = _machine(binding)
            module = binding.parse_assembly(self._make_ir())
            module.verify()
            engine = binding.create_mcjit_compiler(module, machine)
            engine.finalize_object()
        except RuntimeError as error:
            logger.warning("%s is not compiled, NumPy does its work: %s", self._name, error)
            return None
        function = self._type(engine.get_function_address(self._name))
        function.engine = engine  # type: ignore[attr-defined]  # lives as long as its function
        return function


def _machine(binding: Any) -> Any:
    target = binding.Target.from_triple(binding.get_default_triple())
    features = binding.get_host_cpu_features().flatten()
    return target.create_target_machine(
        cpu=binding.get_host_cpu_name(), features=features, opt=2, jit=True
    )


@cache
def has(feature: str) -> bool:
    """Whether this processor has a feature that LLVM knows by this name.

    >>> has("no such feature")
    False
    """
    binding = _binding()
    if binding is None:
        return False
    try:
        return bool(binding.get_host_cpu_features().get(feature))
    except RuntimeError:  # LLVM does not know this system
        return False


@cache
def is_there() -> bool:
    """Whether llvmlite is installed, new enough for this machine, and wanted.

    >>> is_there() in {True, False}
    True
    """
    if os.environ.get("ROOTML_COMPILE", "1") == "0":
        return False
    try:
        version = importlib.metadata.version("llvmlite")
    except importlib.metadata.PackageNotFoundError:
        return False
    of_arm = platform.machine().lower() in {"aarch64", "arm64"}
    return not of_arm or _release(version) >= _MIN_AARCH64


@cache
def _binding() -> Any:
    """`llvmlite.binding`, initialised; None where there is none."""
    if not is_there():
        return None
    try:
        binding = importlib.import_module("llvmlite.binding")
    except (ImportError, OSError) as error:
        logger.warning("llvmlite does not load, NumPy does its work: %s", error)
        return None
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding


def _release(version: str) -> tuple[int, int]:
    major, minor, *_ = version.split(".")
    return int(major), int(minor)


def address(array: Any) -> int:
    """Where the memory of a NumPy array begins: ``array.ctypes.data`` in a fourth of its time."""
    return int(array.__array_interface__["data"][0])


__all__ = ["Kernel", "address", "has", "is_there"]
