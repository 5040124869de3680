"""What `rootml doctor` looks at: packages, processor, caches, memory."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rootml._internal.progress import track
from rootml.errors import RootmlError
from rootml.execution import available_cores

Status = Literal["ok", "missing", "old", "broken", "not tried"]
BAD = {"old", "broken"}

USES = {
    "": "the core: files, cuts, datasets",
    "torch": "loader.torch(), networks, flows",
    "lightning": "loader.lightning()",
    "tensorflow": "loader.tensorflow()",
    "xgboost": "loader.xgboost(), reweighting",
    "onnx": "reading and writing ONNX",
    "bdt": "the compiled engine of forests",
    "sbi": "fits, limits, compiled likelihoods",
    "dask": "Dataset.on(client), to_dask()",
    "root": "RooFit objects",
    "plot": "pictures",
    "xrootd": "root:// and globs in URLs",
    "remote": "https:// and s3://",
    "exchange": "to_cabinetry(), to_hepdata() of results",
    "hdf": "loader.save(folder, format='hdf5')",
    "jax": "loader.jax()",
    "pandas": "Dataset.to_pandas()",
}

_MODULES = {
    "scikit-learn": "sklearn",
    "dask-awkward": "dask_awkward",
    "tomli-w": "tomli_w",
    "ml-dtypes": "ml_dtypes",
    "hepdata-lib": "hepdata_lib",
    "root": "ROOT",
    "xrootd": "XRootD",
}
_OTHERS = {"tensorflow": ("tensorflow-cpu",), "xgboost": ("xgboost-cpu",)}
_INSIDE = {"dask[distributed]": ("distributed",)}
_REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+)\s*(?:\[(?P<inner>[^\]]*)\])?\s*(?:\(?>=\s*(?P<minimum>[\w.]+)\)?)?"
)
_EXTRA = re.compile(r"extra\s*==\s*['\"]([\w-]+)['\"]")
_FLAGS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl",
          "avx512vbmi", "gfni", "neon", "sve")  # fmt: skip
_TRY = (
    "import importlib, sys; m = importlib.import_module(sys.argv[1]); "
    "v = m.gROOT.GetVersion() if sys.argv[1] == 'ROOT' else getattr(m, '__version__', ''); "
    "print('version', v)"
)
_MACHINE = re.compile(r"platform_machine *== *['\"](\w+)['\"]")
_PATIENCE = 180.0


@dataclass(frozen=True, slots=True)
class Package:
    """A package that rootml, or one of its extras, uses.

    Attributes:
        extra: Which extra brings it; "" for rootml itself.
        minimum: The lowest version that will do; "" for any.
        reason: What is wrong with it.
    """

    name: str
    module: str
    extra: str
    minimum: str = ""
    version: str = ""
    status: Status = "missing"
    reason: str = ""


def required() -> list[Package]:
    """The packages of rootml and of its extras; none if nothing says which those are."""
    found: dict[tuple[str, str], Package] = {}  # a line for this processor comes after the general
    for line, extra in _requirements():
        match = _REQUIREMENT.match(line)
        if match is None or match["name"] == "rootml" or extra == "all":
            continue
        machines = _MACHINE.findall(line)
        if machines and platform.machine() not in machines:
            continue
        name, minimum = match["name"].lower(), match["minimum"] or ""
        found[name, extra] = Package(name, _MODULES.get(name, name), extra, minimum)
        inside = _INSIDE.get(f"{name}[{match['inner']}]", ())
        found |= {(inner, extra): Package(inner, inner, extra) for inner in inside}
    return list(found.values())


def _requirements() -> list[tuple[str, str]]:
    """Requirements with the extra that they belong to ("": rootml itself).

    From the checkout that this is, as the metadata of an editable install may be old; else from
    the metadata.
    """
    with suppress(OSError, tomllib.TOMLDecodeError):
        path = Path(__file__).resolve().parents[2] / "pyproject.toml"
        project = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == "rootml":
            extras = {"": project["dependencies"], **project["optional-dependencies"]}
            return [(line, extra) for extra, lines in extras.items() for line in lines]
    try:
        lines = importlib.metadata.requires("rootml") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    matches = [(line, _EXTRA.search(line)) for line in lines]
    return [(line, match[1] if match else "") for line, match in matches]


def examine(
    packages: Sequence[Package], *, tries: bool, progress: bool | None = None
) -> list[Package]:
    """Each package with its version and whether it works.

    Args:
        tries: Import each that is there, in a process of its own: it may be broken, even crash.
    """
    seen = [_look(package) for package in packages]
    if not tries:
        return seen
    modules = sorted({p.module for p in seen if p.status != "missing"})
    with ThreadPoolExecutor(max(1, min(4, available_cores()))) as pool:
        results = track(
            pool.map(_import, modules), total=len(modules), what="importing", enabled=progress
        )
        tried = dict(zip(modules, results, strict=True))
    return [_judge(p, *tried[p.module]) if p.status != "missing" else p for p in seen]


def _look(package: Package) -> Package:
    """The package with its version, if it is there."""
    version = ""
    for name in (package.name, *_OTHERS.get(package.name, ())):
        with suppress(importlib.metadata.PackageNotFoundError):
            version = version or importlib.metadata.version(name)
    try:
        there = importlib.util.find_spec(package.module) is not None
    except (ImportError, ValueError):
        there = False
    if not there:
        return package
    return _aged(replace(package, version=version, status="not tried"))


def _aged(package: Package) -> Package:
    if not package.version or _numbers(package.version) >= _numbers(package.minimum):
        return package
    reason = f"{package.version} is older than {package.minimum}"
    return replace(package, status="old", reason=reason)


def _judge(package: Package, version: str, reason: str) -> Package:
    """The package after it was imported."""
    package = replace(package, version=package.version or version)
    if reason:
        return replace(package, status="broken", reason=reason)
    return _aged(replace(package, status="ok", reason=""))


def _numbers(version: str) -> tuple[int, ...]:
    """The release numbers of a version, for comparing.

    >>> _numbers("2.13.0+cpu") > _numbers("2.4")
    True
    """
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def _import(module: str) -> tuple[str, str]:
    """Version of a module, and why it cannot be imported ("": it can)."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _TRY, module],
            capture_output=True, text=True, errors="replace", check=False, timeout=_PATIENCE,
            stdin=subprocess.DEVNULL, env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "", f"importing it takes longer than {_PATIENCE:.0f} s"
    if done.returncode < 0:
        return "", f"importing it ends the process by signal {-done.returncode}"
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        return "", f"importing it fails: {last[0][:300]}"
    found = [line for line in done.stdout.splitlines() if line.startswith("version ")]
    return (found[-1][8:].strip() if found else ""), ""


# --- the machine ---------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """Processor, cores, memory, limits."""
    total, free = _memory()
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "cpu": _cpu_name(),
        "cpu_features": _cpu_features(),
        "cores": available_cores(),
        "memory_bytes": total,
        "memory_available_bytes": free,
        "open_files": _open_files(),
        "variables": {k: os.environ[k] for k in sorted(os.environ) if _is_ours(k)},
    }


def _is_ours(name: str) -> bool:
    return name.startswith("ROOTML_") or name in {
        "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "ROOTSYS", "XDG_CACHE_HOME",
    }  # fmt: skip


def _cpu_name() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cpu_features() -> list[str]:
    with suppress(RootmlError, ImportError):
        from rootml.bdt.engine.binding._host import host_target

        there = {text[1:] for text in host_target().features.split(",") if text[:1] == "+"}
        return [flag for flag in _FLAGS if flag.replace("_", ".") in there or flag in there]
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("flags", "Features")):
                flags = set(line.partition(":")[2].split())
                return [flag for flag in _FLAGS if flag in flags]
    return []


def _memory() -> tuple[int | None, int | None]:
    """Bytes in all, within the limit of a container, and those available."""
    total = free = None
    with suppress(OSError, ValueError, AttributeError):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable"):
                free = 1024 * int(line.split()[1])
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            allowed = int((Path("/sys/fs/cgroup") / limit).read_text())
            total = allowed if total is None else min(total, allowed)
            free = None if free is None else min(free, allowed)
    return total, free


def _open_files() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def engine() -> dict[str, str]:
    """What `Forest.compile()` will use here."""
    from rootml.bdt.engine.binding._host import host_target

    try:
        target = host_target()
    except (RootmlError, ImportError) as error:
        return {"engine": "numpy", "isa": "numpy", "reason": str(error)}
    except Exception as error:  # noqa: BLE001 - a broken llvmlite may raise anything
        return {"engine": "numpy", "isa": "numpy", "reason": f"{type(error).__name__}: {error}"}
    return {"engine": "llvm", "isa": target.name, "reason": ""}


def caches() -> list[dict[str, Any]]:
    """Where compiled code is kept, and whether it can be."""
    from rootml.bdt.engine.binding._cache import cache_folder

    found = [_cache("forests", cache_folder())]
    try:
        from rootml.sbi.likelihood._jit import cache_folder as kernels
    except Exception:  # noqa: BLE001 - without numba, or with a broken one, nothing is compiled
        return found
    return [*found, _cache("likelihoods", kernels())]


def _cache(what: str, folder: Path | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"what": what, "folder": None if folder is None else str(folder)}
    if folder is None:
        return facts | {"writable": False, "reason": "compiled code is kept in memory only"}
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    try:
        with tempfile.NamedTemporaryFile(dir=existing):
            pass
    except OSError as error:
        reason = f"{error.strerror or error}: compiled code is kept in memory only"
        return facts | {"writable": False, "reason": reason}
    return facts | {"writable": True, "reason": ""}


def by_extra(packages: Iterable[Package]) -> dict[str, list[Package]]:
    """Packages of each extra, in the order of `USES`."""
    found: dict[str, list[Package]] = {extra: [] for extra in USES}
    for package in packages:
        found.setdefault(package.extra, []).append(package)
    return {extra: members for extra, members in found.items() if members}
