"""Where files that belong to input files are written: one name per input, none overwritten."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from rootml.errors import UsageError
from rootml.output._manifest import Manifest, job_key

_SUFFIXES = {"root": ".root", "rntuple": ".root", "parquet": ".parquet", "arrow": ".arrow"}


def check_format(format: Any, inputs: Sequence[str]) -> str:  # noqa: A002 - the word users know
    """The format to write; None: that of `inputs` (Parquet, Arrow), ROOT if they differ.

    Raises:
        UsageError: An unknown one.
    """
    if format is None:
        found = set(inputs)
        return found.pop() if len(found) == 1 and found <= {"parquet", "arrow"} else "root"
    if format not in _SUFFIXES:
        message = f"format must be one of {', '.join(map(repr, _SUFFIXES))}, not {format!r}"
        raise UsageError(message)
    return str(format)


def begin_job(
    what: str,
    folder: str | os.PathLike[str],
    inputs: Sequence[tuple[str, str]],
    *,
    format: str,  # noqa: A002
    key: Sequence[Any],
    overwrite: bool,
) -> tuple[list[str], Manifest]:
    """One path in `folder` for each ``(file, tree)``, and the list of those that are finished.

    The same job, run again after an interruption, finds its files and goes on with them.

    Args:
        what: A word for the job.
        key: What else tells it from other jobs: data, selection, values.

    Raises:
        UsageError: As `output_paths`.
        StateError: An unfinished job of another key has files of these names there.
    """
    names = [path.name for path in _paths(folder, inputs, format)]
    manifest = Manifest(folder, what, job_key(*key, format, names), names)
    manifest.check_others(overwrite=overwrite)
    overwrite = overwrite or manifest.resumes
    paths = output_paths(folder, inputs, format=format, overwrite=overwrite)
    manifest.begin()
    return paths, manifest


def refuse_existing(
    folder: str | os.PathLike[str],
    inputs: Sequence[tuple[str, str]],
    *,
    format: str,  # noqa: A002
    overwrite: bool,
) -> None:
    """See, before anything is read, that no file is in the way.

    Where an unfinished job left its list, only `begin_job` can tell whose files they are.

    Raises:
        UsageError: As `output_paths`.
    """
    resumable = any(Path(folder).glob(".rootml-*.jsonl"))
    _check_paths(folder, inputs, format, overwrite=overwrite or resumable)


def _paths(
    folder: str | os.PathLike[str], inputs: Sequence[tuple[str, str]], kind: str
) -> list[Path]:
    return [Path(folder) / f"{name}{_SUFFIXES[kind]}" for name in _names(inputs)]


def output_paths(
    folder: str | os.PathLike[str],
    inputs: Sequence[tuple[str, str]],
    *,
    format: str,  # noqa: A002
    overwrite: bool,
) -> list[str]:
    """One path in `folder` for each ``(file, tree)``; the folder is made.

    Files are named as the inputs; inputs of one name get the names of their folders, or trees,
    too. An input itself is never overwritten.

    Raises:
        UsageError: A file is there already (and not `overwrite`), or is an input.
    """
    paths = _check_paths(folder, inputs, format, overwrite=overwrite)
    Path(folder).mkdir(parents=True, exist_ok=True)
    return [str(path) for path in paths]


def _check_paths(
    folder: str | os.PathLike[str],
    inputs: Sequence[tuple[str, str]],
    kind: str,
    *,
    overwrite: bool,
) -> list[Path]:
    target = Path(folder)
    paths = _paths(folder, inputs, kind)
    mine = {os.path.realpath(path) for path, _ in inputs}
    same = [str(path) for path in paths if os.path.realpath(path) in mine]
    if same:
        message = f"{same[0]!r} is an input file; choose another folder than {str(target)!r}"
        raise UsageError(message)
    there = [str(path) for path in paths if path.exists()]
    if there and not overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        message = f"{there[0]!r}{more} is there already; remove it, or say overwrite=True"
        raise UsageError(message)
    if target.exists() and not target.is_dir():
        message = f"{str(target)!r} is a file; give the name of a folder"
        raise UsageError(message)
    return paths


def _names(inputs: Sequence[tuple[str, str]]) -> list[str]:
    """The shortest names that differ.

    >>> _names([("a/f.root", "t"), ("b/f.root", "t")]), _names([("f.root", "s"), ("f.root", "b")])
    (['a_f', 'b_f'], ['f_s', 'f_b'])
    >>> _names([("f.root", "t"), ("f.root", "t")])
    ['f_t_0', 'f_t_1']
    """
    paths = [
        PurePosixPath(urlsplit(p).path if "://" in p else Path(p).as_posix()) for p, _ in inputs
    ]
    trees = [tree.replace("/", "_") for _, tree in inputs]
    names: list[str] = []
    for depth in range(max(len(path.parts) for path in paths)):
        folders = [path.parent.parts[len(path.parts) - 1 - depth :] for path in paths]
        names = ["_".join([*f, path.stem]) for f, path in zip(folders, paths, strict=True)]
        for found in (names, [f"{n}_{t}" for n, t in zip(names, trees, strict=True)]):
            if len(set(found)) == len(found):
                return found
    stems = [f"{path.stem}_{tree}" for path, tree in zip(paths, trees, strict=True)]
    return [f"{stem}_{number}" for number, stem in enumerate(stems)]
