"""What a training is given to learn from and to be judged by; where it is kept."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from morphing_small import small
from morphing_toy import CONDITIONS, FEATURES
from scipy import stats

import rootml
from rootml.errors import MissingFileError
from rootml.sbi.morphing import Morpher
from rootml.sbi.morphing.flow._flow import CouplingFlow, UserFlow, coupling_spec
from rootml.sbi.morphing.flow._training import Schedule, ScheduleOptions, Trainer, TrainingRows

pytest.importorskip("torch")


def test_sorted_files_are_validated_whole(
    sim: rootml.Dataset, data: rootml.Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of more held-out rows than are used, not just the first ones."""
    seen: list[Any] = []

    class Seen(Trainer):
        def __init__(self, flow: Any, train: Any, validation: Any, *args: Any, **kw: Any) -> None:
            seen.append(validation.context[validation.context[:, -1] == 0, 0])
            super().__init__(flow, train, validation, *args, **kw)

    columns = sim.to_awkward()
    columns = columns[np.argsort(columns["pt"])]
    table = ak.to_arrow_table(columns, extensionarray=False)
    pyarrow.parquet.write_table(table, tmp_path / "sorted.parquet")
    monkeypatch.setattr("rootml.sbi.morphing._fit.MAX_VALIDATION_ROWS", 300)
    monkeypatch.setattr("rootml.sbi.morphing._fit.Trainer", Seen)
    morpher = Morpher(FEATURES, CONDITIONS, steps=2, reweight="none", max_rows=len(columns))
    morpher.fit(rootml.open(str(tmp_path / "sorted.parquet")), data, progress=False)
    everything = columns["pt"].to_numpy()
    ranks = [np.quantile(seen[0], q) for q in (0.1, 0.5, 0.9)]
    assert len(seen[0]) == 300
    # the first column of the context is Gaussianised over both domains together
    both = np.concatenate([everything, data.to_awkward()["pt"].to_numpy()])
    expected = [
        stats.norm.ppf((both < np.quantile(everything, q)).mean()) for q in (0.1, 0.5, 0.9)
    ]
    np.testing.assert_allclose(ranks, expected, atol=0.15)


@pytest.mark.parametrize("method", ["save", "to_onnx"])
def test_a_folder_that_is_missing_is_named(morpher: Morpher, method: str, tmp_path: Path) -> None:
    place = tmp_path / "none"
    with pytest.raises(MissingFileError, match=r"there is no folder '.*none'"):
        getattr(morpher, method)(place / "file.x")
    assert not place.exists()


@pytest.mark.parametrize("from_step", [None, 120, 380])
def test_the_learning_rate_is_annealed_whenever_it_ends(from_step: int | None) -> None:
    schedule = Schedule(steps=400)
    end = schedule.end(from_step)
    assert schedule.rate(end - 1, from_step) < 0.01 * schedule.learning_rate
    rates = [schedule.rate(step, from_step) for step in range(40, end)]
    assert (np.diff(rates) <= 1e-12).all()
    assert end == {None: 400, 120: 220, 380: 400}[from_step]


def test_sizes_follow_the_events() -> None:
    sizes = [ScheduleOptions().resolve(events) for events in (100, 5000, 350_000, 1e7)]
    assert [each.steps for each in sizes] == [200, 989, 3549, 6000]
    assert [each.batch_size for each in sizes] == [256, 256, 1024, 1024]
    assert [each.decay for each in sizes] == [1.0, 1.0, 0.1, 0.1]
    assert ScheduleOptions(steps=7, batch_size=3, patience=2).resolve(1e6) == Schedule(
        7, 3, 2e-3, 2
    )


@pytest.mark.parametrize("fused", [("cpu",), ()])
def test_a_step_is_that_of_torchs_own_optimiser(
    fused: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """AdamW with clipped gradients; the row of the switch and the biases do not decay.

    With the one kernel, and on a device for which torch has none.
    """
    import torch

    monkeypatch.setattr("rootml.sbi.morphing.flow._optimiser._FUSED", fused)
    spec = coupling_spec(3, 4, layers=2, hidden=(5,), bins=4)
    rng = np.random.default_rng(0)
    flow = CouplingFlow(spec, spec.initial(rng), compiled=False)
    rows = TrainingRows(np.zeros((8, 3), "f4"), np.zeros((8, 4), "f4"), np.ones(8))
    schedule = Schedule(100, 8, decay=20.0)
    trainer = Trainer(flow, rows, rows, schedule, seed=(0, 0))
    theirs = [torch.nn.Parameter(leaf.detach().clone()) for leaf in flow.parameters()]
    groups = [{"params": [p], "weight_decay": 20.0 * (p.ndim > 1)} for p in theirs]
    optimiser = torch.optim.AdamW(groups, lr=1.0)
    first = [name for name in spec.shapes() if name.endswith(".w0")]
    for step in range(30):
        gradients = [torch.tensor(rng.normal(size=p.shape) * 10 ** (step % 3 - 1)).float()
                     for p in theirs]  # fmt: skip
        for group, gradient in zip(optimiser.param_groups, gradients, strict=True):
            group["lr"] = schedule.rate(step)
            group["params"][0].grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_(theirs, 5.0)
        switch = [p.detach()[-1].clone() for p in _named(spec, theirs, first)]
        optimiser.step()
        with torch.no_grad():
            for p, row in zip(_named(spec, theirs, first), switch, strict=True):
                p[-1] += 20.0 * schedule.rate(step) * row
            for leaf, gradient in zip(flow.parameters(), gradients, strict=True):
                leaf.grad.copy_(gradient)
        trainer._optimiser.step(rate=schedule.rate(step), decay=schedule.decay)
    for leaf, p in zip(flow.parameters(), theirs, strict=True):
        torch.testing.assert_close(leaf, p, rtol=1e-4, atol=1e-5, check_device=False)


def test_frozen_parameters_of_a_users_flow_stay() -> None:
    import torch
    import zuko

    flow = UserFlow.make(lambda d, c: zuko.flows.MAF(d, c, transforms=1), 2, 3)
    first = next(flow._module.parameters())
    first.requires_grad_(False)
    before = first.detach().clone()
    rng = np.random.default_rng(1)
    z, context = rng.normal(size=(64, 2)).astype("f4"), rng.normal(size=(64, 3)).astype("f4")
    rows = TrainingRows(z, context, np.full(64, 1 / 64))
    trainer = Trainer(flow, rows, rows, Schedule(5, 32, decay=5.0), seed=(0, 0))
    losses = trainer.run(lambda _step, _check: None)[1]
    torch.testing.assert_close(first, before, rtol=0, atol=0)
    assert losses[-1].train < losses[0].train


def _named(spec: Any, leaves: Any, names: Any) -> Any:
    return [leaf for name, leaf in zip(spec.shapes(), leaves, strict=True) if name in names]


def test_training_and_validation_losses_are_comparable(
    sim: rootml.Dataset, data: rootml.Dataset
) -> None:
    """Of the same parameters on equal events: far from a fit they agree, signed weights or not."""
    chosen: Any = {"layers": 2, "steps": 20, "learning_rate": 1e-9, "reweight": "none"}
    signed = sim.with_weight("event % 5 == 0 ? -1 : 1")
    for source in (sim, signed):
        history = small(**chosen).fit(source, data, progress=False).history[0]
        assert (
            abs(history[-1].train - history[-1].validation) < 0.5
        )  # divided by the sum of |weights|: 2


def test_a_best_check_in_the_warm_up_is_told(
    sim: rootml.Dataset, data: rootml.Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    few = [each.filter("event < 150") for each in (sim, data)]
    chosen: Any = {"layers": 4, "hidden": (256, 256), "steps": 100, "reweight": "none"}
    small(**chosen, learning_rate=0.5).fit(*few, progress=False)
    assert "the validation loss was smallest at step" in caplog.text


def wide(path: Path, rows: int, seed: int) -> rootml.Dataset:
    """Ten features, four of them with atoms, and five conditions."""
    rng = np.random.default_rng(seed)
    columns = {f"c{j}": rng.normal(size=rows) for j in range(5)}
    columns |= {f"f{j}": np.maximum(rng.normal(size=rows), -9 + 3 * (j % 4)) for j in range(10)}
    pyarrow.parquet.write_table(pa.table(columns), path)
    return rootml.open(str(path))


def test_a_million_rows_of_fifteen_columns_take_half_a_gigabyte(tmp_path: Path) -> None:
    """At most 500 bytes for each row of each domain, reading and training included."""
    names = [f"f{j}" for j in range(10)], [f"c{j}" for j in range(5)]
    chosen: Any = {"steps": 2, "layers": 2, "hidden": (4, 4), "batch_size": 64}
    sizes, peaks = (5000, 5000, 45_000), []  # the first one imports and compiles
    for rows in sizes:
        files = [wide(tmp_path / f"{seed}_{rows}.parquet", rows, seed) for seed in (0, 1)]
        tracemalloc.start()
        try:
            Morpher(*names, reweight="none", **chosen).fit(*files, progress=False)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert (peaks[2] - peaks[1]) / (sizes[2] - sizes[1]) / 2 <= 500
