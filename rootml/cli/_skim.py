"""`rootml skim`: the selected events and columns as new files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rootml.cli import _datasets as given
from rootml.cli._output import echo, echo_json, note

if TYPE_CHECKING:
    from rootml.dataset import Dataset
    from rootml.storage import ColumnType

EXAMPLES = """\b
Examples:
  rootml skim data.root:Events skims/ --cut 'nJet >= 2 && Jet_pt[0] > 30'
  rootml skim 'mc_*.root:Events' skims/ --columns 'Jet_*,MET_pt,genWeight'
  rootml skim data.root:Events columns/ --format parquet
  rootml skim data.toml skims/ --define 'HT=Sum$(Jet_pt)' --columns 'HT,nJet'"""

FORMATS = {"ttree": "root", "root": "root", "rntuple": "rntuple", "parquet": "parquet",
           "arrow": "arrow"}  # fmt: skip
_FILES = {".root", ".parquet", ".pq", ".arrow", ".feather"}


def skim(
    files: given.Files = None,
    output: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="Folder for a new file per input.")
    ] = None,
    *,
    tree: given.Tree = None,
    friends: given.Friends = None,
    entries: given.Entries = None,
    define: given.Define = None,
    cut: given.Cut = None,
    columns: given.Columns = None,
    kind: Annotated[
        str | None,
        typer.Option("--format", "-f", metavar="FORMAT",
                     help="ttree, rntuple, parquet or arrow; default: TTree, "
                     "or Parquet and Arrow where the inputs are."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--tree-name", metavar="NAME",
                                 help="Of the new trees; default: as the inputs'.")
    ] = None,
    skip_unwritable: Annotated[
        bool,
        typer.Option("--skip-unwritable", help="Leave out columns that the format cannot hold."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there.")
    ] = False,
    threads: given.Threads = None,
    quiet: given.Quiet = False,
    as_json: given.AsJson = False,
) -> None:  # fmt: skip
    """Write selected events and columns to files.

    One file per input. OUT is a folder; files are named as the inputs. After an interruption the
    same command goes on with the files that are not finished. Without --columns
    all that can be read are written.
    """
    folder = _check_output(output, files)
    if kind is not None and kind.lower() not in FORMATS:
        message = f"--format {kind!r}: ttree, rntuple, parquet or arrow"
        raise typer.BadParameter(message)
    data = given.Given(
        files=files or (), tree=tree, friends=friends or (), entries=entries,
        define=define or (), cut=cut or (), columns=columns or (),
    ).dataset()  # fmt: skip
    options: dict[str, Any] = {"progress": False if quiet else None, "threads": threads}
    rows = data.scan(**options).num_rows
    _say_left_out(data)
    kind = None if kind is None else FORMATS[kind.lower()]
    data = _check_writable(data, kind, skip=skip_unwritable)
    try:
        paths = data.skim(folder, format=kind, tree=name, overwrite=overwrite, **options)
    except KeyboardInterrupt:
        note("the same command goes on with the files that are not finished")
        raise
    if as_json:
        sizes = [Path(path).stat().st_size for path in paths]
        made = [{"path": p, "bytes": s} for p, s in zip(paths, sizes, strict=True)]
        echo_json({"events": rows, "files": made})
    else:
        echo("\n".join(paths))
        _say_sizes(data, paths, rows)
    if not rows:
        note("no event is selected: the files have no entries; see `rootml describe` for why")


def _check_output(output: Path | None, files: list[str] | None) -> Path:
    if output is None:
        message = "no OUT is given: the folder for the new files comes last."
        raise typer.BadParameter(message)
    if not files:
        message = f"expected input files and OUT, got only {str(output)!r}."
        raise typer.BadParameter(message)
    text = str(output)
    if output.is_file() or (output.suffix.lower() in _FILES and not output.is_dir()):
        message = (
            f"OUT is a folder, one file per input is made there; {text!r} looks like a file: "
            f"give e.g. {str(output.with_suffix('')) + '/'!r}"
        )
        raise typer.BadParameter(message)
    return output


def _check_writable(data: Dataset, kind: str | None, *, skip: bool) -> Dataset:
    """See, before anything is written, that the format holds all columns.

    Raises:
        UnsupportedTypeError: It does not, and they are not to be skipped.
    """
    from rootml._internal.reprs import shorten
    from rootml.errors import UnsupportedTypeError
    from rootml.output._output_files import check_format

    infos = [info for sample in data.samples for info in sample.files.infos()]
    made, types = check_format(kind, [info.format for info in infos]), data.types()
    bad = _unwritable(made, types)
    if not bad:
        return data
    spelt = {"root": "TTree", "rntuple": "RNTuple"}.get(made, f"file of {made.capitalize()}")
    names = shorten([f"{name} ({types[name]})" for name in bad])
    if not skip or len(bad) == len(types):
        message = (
            f"a {spelt} cannot hold {names}: choose others with --columns, another --format "
            "(parquet takes most), or leave them out with --skip-unwritable"
        )
        raise UnsupportedTypeError(message)
    note(f"left out, because a {spelt} cannot hold them: {names}")
    return data.select([name for name in data.columns if name not in bad])


def _unwritable(kind: str, types: Mapping[str, ColumnType]) -> list[str]:
    """Columns that a file of this format refuses, found by halves."""
    from rootml.errors import UnsupportedTypeError
    from rootml.storage import open_writer

    with tempfile.TemporaryDirectory() as folder:

        def bad(names: list[str]) -> list[str]:
            try:
                path = str(Path(folder) / f"probe.{kind}")
                open_writer(path, format=kind, columns={n: types[n] for n in names}).abort()
            except UnsupportedTypeError:
                half = len(names) // 2
                return names if len(names) == 1 else bad(names[:half]) + bad(names[half:])
            return []

        return bad(list(types))


def _say_left_out(data: Dataset) -> None:
    """Without columns asked for, those that cannot be read are not there: say so."""
    for each in data.dependencies():
        if each.unreadable:
            from rootml._internal.reprs import shorten

            note(f"columns of {each.sample} that cannot be read: {shorten(each.unreadable)}")


def _say_sizes(data: Dataset, paths: list[str], rows: int) -> None:
    from rootml._internal.sizes import format_bytes

    infos = [info for sample in data.samples for info in sample.files.infos()]
    before = sum(info.fingerprints[0][1].size for info in infos)
    after = sum(Path(path).stat().st_size for path in paths)
    entries = sum(info.num_entries for info in infos)
    note(f"{rows:,} of {entries:,} events, {format_bytes(after)} of {format_bytes(before)}")
