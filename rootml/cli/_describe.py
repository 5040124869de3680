"""`rootml describe`: what a dataset is, in figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rootml.cli import _datasets as given
from rootml.cli._output import echo, echo_facts, echo_grid, echo_json, note

if TYPE_CHECKING:
    from rootml._internal.reprs import Grid
    from rootml.dataset import Dataset
    from rootml.dataset._cutflow import Cutflow
    from rootml.dataset._describe import Description
    from rootml.dataset._weight_sums import Label, Sums

EXAMPLES = """\b
Examples:
  rootml describe sig.root:Events
  rootml describe 'mc_*.root:Events' --cut 'nJet >= 2' --weight genWeight
  rootml describe --sample 1=sig.root:Events --sample 0=bkg.root:Events
  rootml describe --sample 1=sig.root --sample 0=bkg.root --save data.toml
  rootml describe data.toml --cut 'MET_pt > 30' --json"""


def describe(
    files: given.Files = None,
    *,
    sample: given.SampleOption = None,
    tree: given.Tree = None,
    label: given.Label = None,
    weight: given.Weight = None,
    cross_section: given.CrossSection = None,
    luminosity: given.Luminosity = None,
    sum_of_weights: given.SumOfWeights = None,
    friends: given.Friends = None,
    entries: given.Entries = None,
    define: given.Define = None,
    cut: given.Cut = None,
    columns: given.Columns = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FILE", help="Write the dataset to a TOML file."),
    ] = None,
    threads: given.Threads = None,
    quiet: given.Quiet = False,
    as_json: given.AsJson = False,
) -> None:
    """Cutflow, weights and class balance of a dataset.

    The dataset is given by files and options, by TOML files, or by both. --save
    writes it down as TOML, for all commands that take datasets.
    """
    from rootml import toml

    data = given.Given(
        files=files or (), sample=sample or (), tree=tree, label=label, weight=weight,
        cross_section=cross_section, luminosity=luminosity, sum_of_weights=sum_of_weights,
        friends=friends or (), entries=entries, define=define or (), cut=cut or (),
        columns=columns or (),
    ).dataset()  # fmt: skip
    options: dict[str, Any] = {"progress": False if quiet else None, "threads": threads}
    found, flow = data.describe(**options), data.cutflow(**options)
    if as_json:
        echo_json(_facts(data, found, flow))
    else:
        _show(data, found, flow)
    if not found.num_entries:
        note("the files have no entries")
    elif not found.num_rows:
        note("no event is selected: the cutflow says which cut is the last that leaves any")
    if save is not None:
        toml.save(data, save)
        note(f"the dataset is written to {save}")


def _show(data: Dataset, found: Description, flow: Cutflow) -> None:
    if len(data.samples) > 1:
        from rootml.dataset._describe import sample_facts

        echo_facts([("sample", sample_facts(sample)) for sample in data.samples])
    echo_facts(found._facts())
    echo("")
    echo_grid(balance(found))
    for groups in found._groups():
        echo("")
        echo_grid(groups)
    if not data.has_selection:
        return
    for part in flow.flows:
        echo("")
        if len(flow.flows) > 1:
            echo(", ".join(part.samples))
        echo_grid(part.grid())


def balance(found: Description) -> Grid:
    """Events and weights by label, with the share of each class."""
    from rootml._internal.reprs import Grid, percent
    from rootml.dataset._weight_sums import total

    whole = total(found.labels.values())
    header = (
        "label", "events", "share", "sum of weights", "share", "effective", "negative",
    )  # fmt: skip
    rows = [
        (
            "none" if label is None else str(label), f"{sums.count:,}",
            percent(sums.count, whole.count), f"{sums.sumw:.6g}", percent(sums.sumw, whole.sumw),
            f"{sums.effective:.1f}", percent(sums.negative, sums.count),
        )
        for label, sums in found.labels.items()
    ]  # fmt: skip
    return Grid(header, rows)


def _facts(data: Dataset, found: Description, flow: Cutflow) -> dict[str, Any]:
    from rootml.dataset._weight_sums import total

    whole = total(found.labels.values())
    labels = [
        _sums(label, sums) | {"share": _share(sums.count, whole.count),
                              "sumw_share": _share(sums.sumw, whole.sumw)}
        for label, sums in found.labels.items()
    ]  # fmt: skip
    return {
        "samples": [
            {"title": s.title, "label": s.label, "weight": s.weight,
             "files": [spec.where for spec in s.files.specs]}
            for s in data.samples
        ],
        "files": found.num_files,
        "formats": found.formats,
        "entries": found.num_entries,
        "selected": found.num_rows,
        "selected_fraction": found.selected_fraction,
        "stored_bytes": found.stored_bytes,
        "columns": found.columns,
        "labels": labels,
        "cutflow": [
            {"samples": part.samples,
             "steps": [{"name": step.name,
                        "labels": [_sums(*item) for item in step.labels.items()]}
                       for step in part.steps]}
            for part in flow.flows
        ],
        "notes": found.notes,
    }  # fmt: skip


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _sums(label: Label, sums: Sums) -> dict[str, Any]:
    return {
        "label": label, "events": sums.count, "sumw": sums.sumw, "sumw2": sums.sumw2,
        "effective": sums.effective, "negative": sums.negative,
        "negative_fraction": sums.negative_fraction,
    }  # fmt: skip
