"""IR to machine code: compiled for a target, kept in the cache, loaded.

With the environment variable ``ROOTML_BDT_DUMP=folder``, the IR of each library that is loaded is
written to ``folder/<target>-<key>.ll`` (`key` as in the cache); the cache is not changed.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.metadata
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rootml._internal.atomic import atomic_path
from rootml.bdt.engine._target import Target
from rootml.bdt.engine.binding._cache import ObjectCache, cache_key
from rootml.bdt.engine.binding._host import llvm_binding
from rootml.errors import MissingPackageError

_lock = threading.RLock()
_loaded: dict[str, Library] = {}
MIN_AARCH64 = (0, 48)
"""The first llvmlite that makes code for aarch64: of 0.45, 0.46 and 0.47 LLVM aborts."""


class Library:
    """Machine code in memory; stays there for good."""

    def __init__(self, machine_code: bytes, target: Target) -> None:
        binding = llvm_binding()
        self._engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _machine(target))
        self._engine.add_object_file(binding.ObjectFileRef.from_data(machine_code))
        self._engine.finalize_object()
        self.size = len(machine_code)

    def function(
        self, name: str, result: Any, *arguments: Any
    ) -> Any:  # a function of ctypes, whose class ctypes makes at run time
        """A callable that releases the GIL."""
        address = self._engine.get_function_address(name)
        if not address:
            raise AttributeError(name)
        return ctypes.CFUNCTYPE(result, *arguments)(address)


def load(
    make_ir: Callable[[], str], what: str, target: Target, cache: ObjectCache | None = None
) -> Library:
    """The library of an IR module for this machine; compiled once per process and cache.

    Making IR takes longer than loading machine code, so the cache's key holds what the IR is a
    function of: the source of the emitters, what they are asked for, and llvmlite.

    Args:
        make_ir: Gives the IR.
        what: What is asked of the emitters, as text.
    """
    cache = cache or ObjectCache()
    made = None if _sources() else make_ir()
    versions = [importlib.metadata.version("llvmlite"), llvm_binding().llvm_version_info]
    parts = (
        _sources() or made,
        what,
        target.name,
        target.gfni,
        target.block,
        target.cpu,
        target.features,
    )
    key = cache_key(*parts, target.triple, *versions)
    made = _dump(made or make_ir(), f"{target.name}-{key[:16]}.ll") if _dump_folder() else made
    with _lock:
        library = _loaded.get(key)
        if library is None:
            machine_code = cache.get(key)
            if machine_code is None:
                machine_code = compile_object(made or make_ir(), target)
                cache.put(key, machine_code)
            library = _loaded[key] = Library(machine_code, target)
        return library


def _dump_folder() -> str:
    return os.environ.get("ROOTML_BDT_DUMP", "")


def _dump(ir_text: str, name: str) -> str:
    """Write the IR for a developer to read; gives it back."""
    folder = Path(_dump_folder())
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / name) as path:
        path.write_text(ir_text, encoding="utf-8")
    return ir_text


@functools.cache
def _sources() -> str:
    """A digest of all emitters and tables; empty where they cannot be read."""
    digest = hashlib.sha256()
    try:
        for path in sorted(Path(__file__).parents[1].rglob("*.py")):
            digest.update(path.read_bytes())
    except OSError:
        return ""
    return digest.hexdigest()


def compile_object(ir_text: str, target: Target) -> bytes:
    """An object file for `target`, which need not be this machine."""
    return bytes(_machine(target).emit_object(_checked(ir_text)))


def assembly(ir_text: str, target: Target) -> str:
    """The same as text, to read."""
    return str(_machine(target).emit_assembly(_checked(ir_text)))


def _checked(ir_text: str) -> Any:
    """The module, verified. No passes run over it: the emitters write what they want to have, and
    instructions are chosen and scheduled by the code generator (measured: passes gain nothing and
    cost as much time again; on model D the code gets 30 % slower).
    """
    module = llvm_binding().parse_assembly(ir_text)
    module.verify()
    return module


def check_version(target: Target) -> None:
    """Refuse an LLVM whose code generator aborts the process on our instructions.

    Raises:
        MissingPackageError: An llvmlite before 0.48 (LLVM 20), and aarch64.
    """
    version = importlib.metadata.version("llvmlite")
    if target.triple.startswith(("aarch64", "arm64")) and release(version) < MIN_AARCH64:
        message = (
            f"llvmlite {version} cannot make code for {target.triple}: it would end the process; "
            "pip install 'llvmlite>=0.48', or compile(engine=\"numpy\")"
        )
        raise MissingPackageError(message)


def release(version: str) -> tuple[int, int]:
    """Major and minor number."""
    major, minor, *_ = version.split(".")
    return int(major), int(minor)


def _machine(target: Target) -> Any:
    binding = llvm_binding()
    check_version(target)
    if target.triple != binding.get_default_triple():
        binding.initialize_all_targets()
        binding.initialize_all_asmprinters()
    made = binding.Target.from_triple(target.triple)
    return made.create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, jit=True, reloc="default",
        codemodel="jitdefault",
    )  # fmt: skip
