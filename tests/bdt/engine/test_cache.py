"""The cache of compiled kernels: validated, private, shared by processes, not needed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from bdt_forests import random_forest, rows_on_thresholds, walk

from rootml.bdt.engine.binding import _jit
from rootml.bdt.engine.binding._cache import ObjectCache, cache_folder, cache_key
from rootml.bdt.engine.binding._host import host_target
from rootml.errors import MissingPackageError

IR = """
define i64 @answer(i64 %x) {
  %y = add i64 %x, 41
  ret i64 %y
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "cache"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_jit, "_loaded", {})


def answer(cache: ObjectCache) -> int:
    import ctypes

    library = _jit.load(lambda: IR, "answer", host_target(), cache)
    found: int = library.function("answer", ctypes.c_int64, ctypes.c_int64)(1)
    return found


def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was compiled from now on."""
    calls: list[str] = []
    real = _jit.compile_object

    def counted(text: str, target: object) -> bytes:
        calls.append(text)
        return real(text, target)  # type: ignore[arg-type]

    monkeypatch.setattr(_jit, "compile_object", counted)
    return calls


def test_a_second_process_would_not_compile(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    calls = compiled(monkeypatch)
    assert answer(ObjectCache(folder)) == 42
    _jit._loaded.clear()
    assert answer(ObjectCache(folder)) == 42
    assert len(calls) == 1


def test_the_ir_is_written_on_request(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = compiled(monkeypatch)
    answer(ObjectCache(folder))
    monkeypatch.setenv("ROOTML_BDT_DUMP", str(tmp_path / "ir"))
    _jit._loaded.clear()
    assert answer(ObjectCache(folder)) == 42
    (path,) = (tmp_path / "ir").iterdir()
    assert path.read_text() == IR
    assert path.name.startswith(host_target().name)
    assert len(calls) == 1  # the machine code still came from the cache


def test_the_key_covers_the_source_of_all_emitters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed emitter must never load the machine code of the old one."""
    read: list[Path] = []
    real = Path.read_bytes

    def noted(path: Path) -> bytes:
        read.append(path)
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    _jit._sources.__wrapped__()
    assert {"tables", "codegen", "binding", "engine"} <= {path.parent.name for path in read}


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text"])
def test_a_damaged_file_is_compiled_again(
    folder: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(ObjectCache(folder))
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    kinds = {"flip": bytes(content), "cut": bytes(content[:200]), "empty": b"", "text": b"x" * 99}
    path.write_bytes(kinds[damage])
    _jit._loaded.clear()
    calls = compiled(monkeypatch)
    assert answer(ObjectCache(folder)) == 42
    assert len(calls) == 1
    _jit._loaded.clear()
    assert answer(ObjectCache(folder)) == 42
    assert len(calls) == 1


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="modes are of POSIX")
@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777])
def test_a_folder_open_to_others_is_neither_read_nor_written(folder: Path, mode: int) -> None:
    cache = ObjectCache(folder)
    assert cache.put("key", b"code")
    assert cache.get("key") == b"code"
    folder.chmod(mode)
    assert cache.get("key") is None
    assert not cache.put("other", b"code")
    assert len(list(folder.iterdir())) == 1


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="modes are of POSIX")
def test_a_file_that_others_may_write_is_not_run(folder: Path) -> None:
    cache = ObjectCache(folder)
    cache.put("key", b"code")
    (folder / "key.o").chmod(0o666)
    assert cache.get("key") is None


def test_a_link_in_place_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert not ObjectCache(link).put("key", b"code")


def test_made_folders_are_private(tmp_path: Path) -> None:
    made = tmp_path / "a" / "b"
    assert ObjectCache(made).put("key", b"code")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_nothing_writable_compiles_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    cache = ObjectCache(file / "below")
    assert answer(cache) == 42
    assert not cache.put("key", b"code")


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOTML_CACHE", "/somewhere")
    assert cache_folder() == Path("/somewhere/bdt")
    monkeypatch.setenv("ROOTML_CACHE", "")
    assert cache_folder() is None
    assert not ObjectCache().put("key", b"code")
    monkeypatch.delenv("ROOTML_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    if sys.platform == "linux":
        assert cache_folder() == Path("/elsewhere/rootml/bdt")


def test_keys_tell_apart_what_is_compiled() -> None:
    keys = {cache_key("a", "b"), cache_key("ab", ""), cache_key("a", "c"), cache_key("a", "b", 1)}
    assert len(keys) == 4


_CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from bdt_forests import random_forest, rows_on_thresholds, walk
forest = random_forest(np.random.default_rng(0), trees=3, depth=2)
x = rows_on_thresholds(np.random.default_rng(1), forest, 20)
assert np.array_equal(forest.compile().predict_margin(x), walk(forest, x)[:, 0])
"""


def test_processes_share_a_cache(folder: Path) -> None:
    support = Path(__file__).parents[2] / "support"
    environment = {**os.environ, "ROOTML_CACHE": str(folder)}
    command = [sys.executable, "-c", _CHILD, str(support)]
    children = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [child.wait() for child in children] == [0, 0, 0]
    names = [path.name for path in (folder / "bdt").iterdir()]
    assert len(names) == 2  # kernels for large and for small blocks
    assert names[0].endswith(".o")


def test_threads_compile_and_score_at_once() -> None:
    forest = random_forest(np.random.default_rng(0), trees=3, depth=2)
    x = rows_on_thresholds(np.random.default_rng(1), forest, 60)
    expected = walk(forest, x)[:, 0]
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda _: forest.compile(), range(4)))
        found = list(pool.map(lambda i: models[i % 4].predict_margin(x), range(40)))
    assert all(np.array_equal(each, expected) for each in found)


def test_without_llvmlite_the_error_says_what_works(monkeypatch: pytest.MonkeyPatch) -> None:
    from rootml.bdt.engine.binding import _host

    forest = random_forest(np.random.default_rng(0), trees=2, depth=2)
    _host.llvm_binding.cache_clear()
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    try:
        with pytest.raises(MissingPackageError, match=r"rootml\[bdt\].*engine='numpy'"):
            forest.compile()
        x = rows_on_thresholds(np.random.default_rng(1), forest, 5)
        assert np.array_equal(forest.compile("numpy").predict_margin(x), walk(forest, x)[:, 0])
    finally:
        monkeypatch.undo()
        _host.llvm_binding.cache_clear()
