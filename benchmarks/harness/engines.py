"""The loaders that are compared: ours, ROOT's, plain uproot, and torch over arrays in memory.

An engine is a function of a `Case` that prepares and returns a function of the epoch number, which
in turn iterates over one epoch's batches. A batch is a tuple whose second item has one entry per
row; `rows` counts them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from harness.case import Case
from harness.data import TREE, import_root

Epoch: TypeAlias = Callable[[int], Iterator[Any]]


def rows(batch: Any) -> int:
    """Rows of a batch, from its target."""
    return len(batch[1])


# --- rootml --------------------------------------------------------------------------------------


def rootml_loader(case: Case) -> Any:
    """A BatchLoader that delivers what the case asks for."""
    import rootml
    from rootml.batching import Padded

    options: dict[str, Any] = {"weight": case.weight} if case.weight else {}
    if case.target:
        options["label"] = case.target
    data = rootml.open([f"{path}:{TREE}" for path in case.files], **options)
    if case.cut:
        data = data.filter(case.cut)
    data = data.select([*case.features, *case.jets])
    inputs = {"jets": Padded(list(case.jets), length=case.length)} if case.jets else None
    return data.batches(
        case.batch_size,
        shuffle=case.shuffle,
        seed=case.seed,
        inputs=inputs,
        buffer_bytes=case.buffer,
        cache=case.cache or None,
        progress=False,
    )


def rootml_numpy(case: Case) -> Epoch:
    """Our loader as NumPy arrays."""
    loader = rootml_loader(case)

    def epoch(number: int) -> Iterator[Any]:
        loader.set_epoch(number)
        return iter(loader.numpy())

    return epoch


def rootml_torch(case: Case) -> Epoch:
    """Our loader as torch tensors."""
    loader = rootml_loader(case)

    def epoch(number: int) -> Iterator[Any]:
        loader.set_epoch(number)
        return iter(loader.torch())

    return epoch


# --- ROOT ----------------------------------------------------------------------------------------


def root_loader(case: Case) -> Any:
    """ROOT's RDataLoader with its own defaults, no row dropped."""
    root = import_root()
    frame = root.RDataFrame(TREE, root.std.vector["std::string"](case.files))
    if case.cut:
        frame = frame.Filter(case.cut, "cut")
    return root.Experimental.ML.RDataLoader(
        frame,
        batch_size=case.batch_size,
        columns=list(case.columns),
        max_vec_sizes=dict.fromkeys(case.jets, case.length) or None,
        target=case.target or None,
        weights=case.weight,
        shuffle=case.shuffle,
        drop_remainder=False,
        set_seed=case.seed,
    )


def root_numpy(case: Case) -> Epoch:
    """ROOT's loader as NumPy arrays."""
    loader = root_loader(case)
    return lambda _number: iter(loader.as_numpy())  # it has no epoch to set


def root_torch(case: Case) -> Epoch:
    """ROOT's loader as torch tensors."""
    loader = root_loader(case)
    return lambda _number: iter(loader.as_torch())


# --- what people write by hand -------------------------------------------------------------------


def uproot_iterate(case: Case) -> Epoch:
    """`uproot.iterate` in steps of 100 MB, each step stacked and shuffled in memory."""
    import uproot

    def epoch(number: int) -> Iterator[Any]:
        rng = np.random.default_rng([case.seed, number])
        tasks = [f"{path}:{TREE}" for path in case.files]
        steps = uproot.iterate(tasks, list(case.columns), library="np", step_size="100 MB")
        for step in steps:
            yield from shuffled_batches(step, case, rng)

    return epoch


def shuffled_batches(
    step: dict[str, npt.NDArray[Any]], case: Case, rng: np.random.Generator
) -> Iterator[Any]:
    """Batches of one step of columns (the last may be short)."""
    x = np.stack([step[name] for name in case.features], axis=1, dtype=np.float32)
    y, w = step[case.target].astype(np.float32), step[case.weight]
    order = rng.permutation(len(x)) if case.shuffle else np.arange(len(x))
    for start in range(0, len(x), case.batch_size):
        take = order[start : start + case.batch_size]
        yield x[take], y[take], w[take]


def in_memory(case: Case) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """The whole selection as x, y, w."""
    import uproot

    tasks = [f"{path}:{TREE}" for path in case.files]
    columns = uproot.concatenate(tasks, list(case.columns), library="np")
    x = np.stack([columns[name] for name in case.features], axis=1, dtype=np.float32)
    return x, columns[case.target].astype(np.float32), columns[case.weight]


def torch_samples(case: Case) -> Epoch:
    """torch's DataLoader over arrays in memory, as usually written: one sample at a time."""
    import torch

    dataset = torch.utils.data.TensorDataset(*map(torch.from_numpy, in_memory(case)))
    loader: Any = torch.utils.data.DataLoader(
        dataset, batch_size=case.batch_size, shuffle=case.shuffle
    )
    return lambda _number: iter(loader)


def torch_batches(case: Case) -> Epoch:
    """torch's DataLoader over arrays in memory with a BatchSampler: one fetch per batch."""
    import torch
    from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

    dataset = TensorDataset(*map(torch.from_numpy, in_memory(case)))
    sampler = BatchSampler(RandomSampler(dataset), case.batch_size, drop_last=False)
    loader: Any = DataLoader(dataset, sampler=sampler, batch_size=None)
    return lambda _number: iter(loader)


# --- weaver --------------------------------------------------------------------------------------


def weaver_torch(case: Case) -> Epoch:
    """weaver-core as its `weaver` command sets it up by default: one reading worker process."""
    from torch.utils.data import DataLoader
    from weaver.utils.dataset import SimpleIterDataset

    with tempfile.TemporaryDirectory() as folder:
        card = Path(folder) / "card.yaml"
        card.write_text(json.dumps(data_card(case)))  # JSON is YAML
        options = {"batch_size": case.batch_size, "for_training": True}
        dataset = SimpleIterDataset({"_": list(case.files)}, str(card), **options)
    loader: Any = DataLoader(dataset, batch_size=case.batch_size, num_workers=1)

    def epoch(_number: int) -> Iterator[Any]:
        for x, y, _ in loader:
            yield x, y["_label_"]

    return epoch


def data_card(case: Case) -> dict[str, Any]:
    """The case as weaver describes data: no transformation of the inputs."""
    length = case.length if case.jets else None
    plain = [[name, None] for name in (*case.features, *case.jets)]
    return {
        "treename": TREE,
        "selection": case.cut or None,
        "preprocess": {"method": "manual", "data_fraction": 1},
        "new_variables": {"other": f"1 - {case.target}"},
        "inputs": {"features": {"length": length, "vars": plain}},
        "labels": {"type": "simple", "value": [case.target, "other"]},
    }


ENGINES: dict[str, Callable[[Case], Epoch]] = {
    function.__name__: function
    for function in (
        rootml_numpy,
        rootml_torch,
        root_numpy,
        root_torch,
        uproot_iterate,
        torch_samples,
        torch_batches,
        weaver_torch,
    )
}
