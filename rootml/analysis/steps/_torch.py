"""A dense network, trained by torch and kept as ONNX."""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rootml._internal.onnx_graph import OnnxGraph
from rootml._internal.onnx_network import ElementScores, Network
from rootml._internal.optional import optional_import
from rootml._internal.progress import track
from rootml.analysis._settings import number, setting, whole, wholes
from rootml.analysis._step import Context, Outcome
from rootml.analysis.steps._training import Training
from rootml.dataset import Dataset
from rootml.errors import ConvergenceError

MODEL = "model.onnx"


@dataclass(frozen=True, kw_only=True)
class Torch(Training):
    """A dense network of signal against background, with signed weights.

    Inputs are scaled to mean 0 and width 1 (use ``log(MET_pt)`` for long tails); hidden layers
    have SiLU; Adam, with a learning rate that falls along a cosine; both classes weigh the same.
    The step holds the network with the best validation loss.

    Attributes:
        hidden: Widths of the hidden layers.
        epochs: Maximum number of passes over the training events.
        patience: Stop after so many epochs without a better validation loss.
        batch_size: Events per step of the optimiser.
        learning_rate: At the start.
    """

    kind: ClassVar[str] = "torch"
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    hidden: tuple[int, ...] = setting(wholes, (64, 64))
    epochs: int = setting(whole(1), 20)
    patience: int = setting(whole(1), 4)
    batch_size: int = setting(whole(1), 1024)
    learning_rate: float = setting(number(above=0.0), 3e-3)

    def run(self, context: Context) -> Outcome:
        torch = optional_import("torch", feature="a step of kind 'torch'", extra="torch")
        optional_import("onnx", feature="a step of kind 'torch'", extra="onnx")
        train, valid = self.divided(context)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            network = self._network(torch, train)
            losses = self._learn(torch, network, train, valid, context)
        best = int(np.argmin(losses))
        write_onnx(network, list(train.columns), context.folder / MODEL, context.stamp)
        facts = [
            ("network", " - ".join(map(str, (len(train.columns), *self.hidden, 1)))),
            ("epochs", f"{len(losses)}, the best is number {best + 1}"),
            ("validation loss", f"{losses[best]:.5f}"),
        ]
        return Outcome(facts)

    def open(self, folder: Path) -> TrainedNetwork:
        return TrainedNetwork(Network(folder / MODEL))

    def _network(self, torch: Any, train: Dataset) -> Any:
        from rootml.batching import Standardizer

        layers: list[Any] = [Standardizer().fit(train).to_torch()]
        widths = (len(train.columns), *self.hidden)
        for before, after in itertools.pairwise(widths):
            layers += [torch.nn.Linear(before, after), torch.nn.SiLU()]
        return torch.nn.Sequential(*layers, torch.nn.Linear(widths[-1], 1), torch.nn.Flatten(0))

    def _learn(
        self, torch: Any, network: Any, train: Dataset, valid: Dataset, context: Context
    ) -> list[float]:
        """Train; `network` has the weights of the best epoch then. The validation losses."""
        options: Any = {"balance": "weights", "progress": context.progress}
        loader = train.batches(self.batch_size, shuffle=True, seed=context.seed, **options)
        held_out = valid.batches(8192, **options)
        optimizer = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
        losses: list[float] = []
        best = copy.deepcopy(network.state_dict())
        for epoch in track(
            range(self.epochs), total=self.epochs, what="epochs", enabled=context.progress
        ):
            fallen = 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))
            optimizer.param_groups[0]["lr"] = self.learning_rate * fallen
            for batch in loader.torch():
                optimizer.zero_grad()
                _loss(torch, network, batch).mean().backward()
                optimizer.step()
            losses.append(_mean_loss(torch, network, held_out))
            if losses[-1] == min(losses):
                best = copy.deepcopy(network.state_dict())
            if len(losses) - 1 - int(np.argmin(losses)) >= self.patience:
                break
        network.load_state_dict(best)
        return losses


def _loss(torch: Any, network: Any, batch: Any) -> Any:
    """The weighted cross entropy of each event."""
    x, y, *w = batch
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        network(x), y.float(), reduction="none"
    )
    return loss * w[0] if w else loss


def _mean_loss(torch: Any, network: Any, loader: Any) -> float:
    """The mean weighted loss of all events.

    Raises:
        ConvergenceError: It is not finite.
    """
    total, weight = 0.0, 0.0
    with torch.no_grad():
        for batch in loader.torch():
            total += float(_loss(torch, network, batch).double().sum())
            weight += float(batch[2].double().sum()) if len(batch) > 2 else len(batch[0])
    if not math.isfinite(total / weight):
        message = "the validation loss is not finite: lower learning_rate, or scale the inputs"
        raise ConvergenceError(message)
    return total / weight


def write_onnx(network: Any, inputs: Sequence[str], path: Path, stamp: dict[str, Any]) -> None:
    """Write the network with its scaling and a sigmoid: ``x`` `(rows, inputs)` to ``score``."""
    graph = OnnxGraph(feature="a step of kind 'torch'")
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    scaled = graph.op("Sub", "x", graph.constant(state["0.mean"]))
    value = graph.op("Div", scaled, graph.constant(state["0.std"]))
    numbers = sorted({int(name.split(".")[0]) for name in state if name.endswith("weight")})
    for layer in numbers:
        weight, bias = (graph.constant(state[f"{layer}.{key}"]) for key in ("weight", "bias"))
        value = graph.op("Gemm", value, weight, bias, transB=1)
        if layer != numbers[-1]:
            value = graph.op("Mul", value, graph.op("Sigmoid", value))
    graph.op("Sigmoid", value, output="score")
    model = graph.model(
        "classifier",
        {"x": (np.float32, ["rows", len(inputs)])},
        {"score": (np.float32, ["rows", 1])},
        properties={"inputs": json.dumps(list(inputs)), "rootml": json.dumps(stamp)},
    )
    path.write_bytes(model.SerializeToString())


@dataclass(frozen=True)
class TrainedNetwork:
    """A network of a step of kind "torch"; scores a dataset whose columns are its inputs."""

    network: Network

    def predict(self, data: Dataset) -> Any:
        """The score of each selected event, `(events,)` float32."""
        score = self._score(data, "score")
        parts = data.map_partitions(_Of(score), threads=1, what="scoring")
        return np.concatenate(list(parts))

    def write_friend(self, data: Dataset, folder: Path, *, name: str, **options: Any) -> list[str]:
        """As `rootml.bdt.Model.write_friend`."""
        return data.write_friend(folder, self._score(data, name), **options)

    def _score(self, data: Dataset, name: str) -> ElementScores:
        return ElementScores(partial(self.network.scores, name=name), data.columns)


@dataclass(frozen=True)
class _Of:
    score: ElementScores

    def __call__(self, block: Any) -> Any:
        return self.score(block.columns)["score"]
