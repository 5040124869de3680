"""The flow: layers that each transform some features by splines, given the others and a context.

One flow serves both domains, told apart by the last number of the context. In words::

    for each layer:
        raw    = network(features that are kept, context)         two hidden layers of ReLU
        x_rest = spline(x_rest; raw)                              see `_spline`
    z = x;   log p(x | context) = log N(z) + sum of log slopes

Kept and transformed features change from layer to layer, so that every pair meets. A transform
and its inverse cost the same, one pass over the layers; the autoregressive flows need as many
passes as there are features in one of the two directions.

Parameters are NumPy arrays by name (`State`). torch trains them here; `_flow_inference` and
`_onnx` use them without torch.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from rootml.errors import StateError, UsageError
from rootml.sbi.morphing.flow._leaves import State, TrainableArrays, import_torch, torch_device
from rootml.sbi.morphing.flow._spline import BOUND, MAX_INPUT, MIN_SIZE, UNIT_SLOPE, num_raw

if TYPE_CHECKING:
    from torch import Tensor

FlowFactory = Callable[[int, int], Any]
"""``(features, context) -> zuko flow``."""


@dataclass(frozen=True, slots=True)
class FlowSpec:
    """The shape of a flow.

    Attributes:
        features, context: Numbers of columns.
        kept: For each layer the features that it keeps and looks at.
        hidden: Widths of the hidden layers.
        bins: Bins of the splines.
    """

    features: int
    context: int
    kept: tuple[tuple[int, ...], ...]
    hidden: tuple[int, ...]
    bins: int

    def moved(self, layer: int) -> tuple[int, ...]:
        """The features that a layer transforms."""
        return tuple(j for j in range(self.features) if j not in self.kept[layer])

    def widths(self, layer: int) -> tuple[int, ...]:
        """Sizes of the network of a layer, from input to output."""
        inputs = len(self.kept[layer]) + self.context
        return inputs, *self.hidden, len(self.moved(layer)) * num_raw(self.bins)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all parameters: ``<layer>.w<k>`` `(in, out)`, ``<layer>.b<k>``."""
        found: dict[str, tuple[int, ...]] = {}
        for layer in range(len(self.kept)):
            sizes = self.widths(layer)
            for k, (rows, columns) in enumerate(itertools.pairwise(sizes)):
                found[f"{layer}.w{k}"] = (rows, columns)
                found[f"{layer}.b{k}"] = (columns,)
        return found

    def initial(self, rng: np.random.Generator) -> State:
        """Parameters to begin with: random networks whose last layer makes the identity."""
        state: State = {}
        last = len(self.hidden)
        for name, shape in self.shapes().items():
            layer, k = int(name.split(".")[0]), int(name.split(".")[1][1:])
            if k == last:
                state[name] = np.zeros(shape, np.float32)
                if len(shape) == 1:
                    state[name].reshape(-1, num_raw(self.bins))[:, 2 * self.bins :] = UNIT_SLOPE
            else:
                width = 1 / math.sqrt(self.widths(layer)[k])
                state[name] = rng.uniform(-width, width, shape).astype(np.float32)
        return state


def coupling_spec(
    features: int, context: int, *, layers: int, hidden: tuple[int, ...], bins: int
) -> FlowSpec:
    """A flow whose layers come in pairs that exchange the roles of two halves of the features."""
    kept = []
    for half in _halves(features, -(-layers // 2)):
        kept += [half, tuple(j for j in range(features) if j not in half)]
    if features == 1:
        kept = [()] * layers
    return FlowSpec(features, context, tuple(kept[:layers]), hidden, bins)


@functools.cache
def _halves(features: int, count: int) -> list[tuple[int, ...]]:
    """Halves of the features such that all pairs are divided about equally often.

    Each is the best of some hundred random ones (fixed seed): the one that divides the pairs that
    were divided least. If that leaves a pair together, halves by the bits of the number.
    """
    rng = np.random.default_rng(features)
    divided = np.zeros((features, features))
    chosen = []
    for _ in range(count):
        sides = np.array([rng.permutation(features) < features // 2 for _ in range(256)])
        cuts = sides[:, :, None] != sides[:, None, :]
        costs = (cuts * 4.0**divided).sum(axis=(1, 2)) - (cuts * 16.0 / (1 + divided) ** 4).sum(
            axis=(1, 2)
        )
        best = int(np.argmin(costs))
        divided += cuts[best]
        first = sides[best] == sides[best][0]  # always with feature 0: the layers alternate
        chosen.append(tuple(np.flatnonzero(first).tolist()))
    together = (divided + np.eye(features) == 0).any()
    for k in range(min(count, pairs_meet(features) // 2) if together else 0):
        chosen[k] = tuple(j for j in range(features) if not j >> k & 1)
    return chosen


def pairs_meet(features: int) -> int:
    """Layers in which every pair of features can meet."""
    return 2 * max(1, (features - 1).bit_length())


class Trainable(Protocol):
    """What can be trained."""

    def loss(self, x: Any, context: Any) -> Tensor:
        """Of each row, `(rows,)`."""

    def parameters(self) -> list[Any]:
        """Leaves to train."""

    def decayed(self) -> list[Any]:
        """What shrinks in a training: tensors that share the memory of the leaves."""

    def state(self) -> State:
        """Copies of all parameters."""

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Replace all parameters."""


class Flow(Trainable, Protocol):
    """Both directions in torch, and parameters as arrays."""

    def forward(self, x: Any, context: Any) -> tuple[Any, Any]:
        """z `(rows, features)` and ``log |dz/dx|`` `(rows,)`."""

    def inverse(self, z: Any, context: Any) -> Tensor:
        """x `(rows, features)`."""


def negative_log_likelihood(flow: Flow, x: Any, context: Any) -> Tensor:
    """Of each row, given that z is normal."""
    z, logs = flow.forward(x, context)
    each: Tensor = 0.5 * (z * z).sum(1) + 0.5 * x.shape[1] * math.log(2 * math.pi) - logs
    return each


class CouplingFlow(TrainableArrays):
    """The flow in torch.

    Args:
        compiled: Splines by numba, with a gradient of all layers written by hand
            (`_flow_gradient`): many times faster than torch's own operations, which are used
            otherwise.
        device: Of torch; None: the CPU. With a device, `compiled` has no effect.
    """

    def __init__(
        self,
        spec: FlowSpec,
        state: Mapping[str, npt.NDArray[Any]],
        *,
        compiled: bool,
        device: str | None = None,
    ) -> None:
        super().__init__(state, spec.shapes(), device=device or "cpu")
        self.spec = spec
        self._whole = _compiled_flow(spec) if compiled and device is None else None
        self._columns = []
        for layer, kept in enumerate(spec.kept):
            order = [*kept, *spec.moved(layer)]
            back = np.argsort(order).tolist()
            groups = (kept, spec.moved(layer), back)
            self._columns.append(
                [self._torch.tensor(list(group), device=self._device).long() for group in groups]
            )

    def decayed(self) -> list[Any]:
        """The weights; but not those of the switch, the last row of each first matrix."""
        return [
            leaf.detach()[: -1 if name.endswith(".w0") else None]
            for name, leaf in self._leaves.items()
            if leaf.ndim > 1
        ]

    def _raw(self, layer: int, kept: Any, context: Any) -> Any:
        torch = self._torch
        h = torch.cat([kept.clamp(-MAX_INPUT, MAX_INPUT), context], 1)
        last = len(self.spec.hidden)
        for k in range(last + 1):
            h = torch.addmm(self._leaves[f"{layer}.b{k}"], h, self._leaves[f"{layer}.w{k}"])
            h = h if k == last else torch.relu(h)
        return h

    def forward(self, x: Any, context: Any) -> tuple[Any, Any]:
        """z `(rows, features)` and ``log |dz/dx|`` `(rows,)`."""
        if self._whole is not None:
            found: tuple[Any, Any] = self._whole(x, context, *self._leaves.values())
            return found
        total: Any = 0.0
        for layer, (kept, moved, back) in enumerate(self._columns):
            still = x[:, kept]
            raw = self._raw(layer, still, context)
            y, logs = torch_spline(x[:, moved], raw, self.spec.bins, False)
            total = total + logs
            x = self._torch.cat([still, y], 1)[:, back]
        return x, total

    def loss(self, x: Any, context: Any) -> Tensor:
        """Negative log-likelihood of each row."""
        return negative_log_likelihood(self, x, context)

    def inverse(self, z: Any, context: Any) -> Tensor:
        """x `(rows, features)`; without gradients."""
        with self._torch.no_grad():
            for layer in reversed(range(len(self._columns))):
                kept, moved, back = self._columns[layer]
                still = z[:, kept]
                raw = self._raw(layer, still, context)
                y, _ = torch_spline(z[:, moved], raw, self.spec.bins, True)
                z = self._torch.cat([still, y], 1)[:, back]
        x: Tensor = z
        return x


def torch_spline(x: Any, raw: Any, bins: int, inverse: bool) -> tuple[Any, Any]:
    """`_spline.spline` and the sum of log slopes, by torch's operations and its gradients."""
    torch = import_torch()
    pad = torch.nn.functional.pad
    raw = raw.view(x.shape[0], x.shape[1], -1)

    def knots(part: Any) -> Any:  # a tensor
        size = MIN_SIZE + (1 - MIN_SIZE * bins) * torch.softmax(part, -1)
        inner = torch.cumsum(size[..., :-1], -1) * (2 * BOUND) - BOUND
        return pad(pad(inner, (1, 0), value=-BOUND), (0, 1), value=BOUND)

    across, up = knots(raw[..., :bins]), knots(raw[..., bins : 2 * bins])
    softplus = torch.nn.functional.softplus(raw[..., 2 * bins :])
    slopes = pad(MIN_SIZE + softplus, (1, 1), value=1.0)
    inside = (x > -BOUND) & (x < BOUND)
    value = torch.where(inside, x, torch.zeros_like(x))
    along = up if inverse else across
    at = (value.unsqueeze(-1) >= along[..., 1:-1]).sum(-1, keepdim=True)

    def take(values: Any, shift: int = 0) -> Any:  # a tensor
        return values.gather(-1, at + shift).squeeze(-1)

    x0, y0, d0, d1 = take(across), take(up), take(slopes), take(slopes, 1)
    width, height = take(across, 1) - x0, take(up, 1) - y0
    s = height / width
    bend = d0 + d1 - 2 * s
    if inverse:
        rise = value - y0
        a, b, c = height * (s - d0) + rise * bend, height * d0 - rise * bend, -s * rise
        t = 2 * c / (-b - torch.sqrt((b * b - 4 * a * c).clamp(min=0)))
        y = t * width + x0
    else:
        t = (value - x0) / width
        y = y0 + height * (s * t * t + d0 * t * (1 - t)) / (s + bend * t * (1 - t))
    arch = t * (1 - t)
    steep = d1 * t * t + 2 * s * arch + d0 * (1 - t) * (1 - t)
    logs = 2 * torch.log(s) + torch.log(steep) - 2 * torch.log(s + bend * arch)
    logs = torch.where(inside, logs, torch.zeros_like(logs)).sum(1)
    return torch.where(inside, y, x), -logs if inverse else logs


def _compiled_flow(spec: FlowSpec) -> Callable[..., tuple[Any, Any]]:
    """All layers as one operation of torch; only where numba is."""
    from rootml.sbi.morphing.flow._flow_gradient import FlowGradient

    layers = range(len(spec.kept))
    moved, widths = ([of(layer) for layer in layers] for of in (spec.moved, spec.widths))
    whole = FlowGradient(spec.kept, moved, widths, bins=spec.bins)
    made: Callable[..., tuple[Any, Any]] = whole.make()
    return made


class UserFlow:
    """A flow of zuko's: a module that makes a distribution of a context.

    Its `transform` carries x to z, `transform.inv` back, and `log_abs_det_jacobian` or
    `call_and_ladj` give the slope.
    """

    def __init__(self, module: Any) -> None:
        self._torch = import_torch()
        self._module = module

    def to(self, device: str | None) -> UserFlow:
        """The same on a device of torch; None: where it is."""
        if device is not None:
            self._module = self._module.to(torch_device(device))
        return self

    @classmethod
    def make(cls, factory: FlowFactory, features: int, context: int) -> UserFlow:
        """Call the user's factory and see that something usable comes out.

        Raises:
            UsageError: It does not fit.
        """
        torch = import_torch()
        module = factory(features, context)
        flow = cls(module)
        try:
            z, logs = flow.forward(torch.zeros(2, features), torch.zeros(2, context))
            good = tuple(z.shape) == (2, features) and tuple(logs.shape) == (2,)
        except (AttributeError, TypeError, RuntimeError, ValueError) as error:
            message = (
                f"flow= gives {type(module).__name__}, which cannot be used for {features} "
                f"features and {context} columns of context (conditions, twice, and the switch): "
                f"{error}. Give a function (features, context) -> flow, such as "
                "lambda d, c: zuko.flows.NSF(d, c)"
            )
            raise UsageError(message) from error
        if not good:
            message = (
                f"flow= gives {type(module).__name__}, whose transform makes "
                f"{tuple(z.shape)} of (2, {features})"
            )
            raise UsageError(message)
        return flow

    def forward(self, x: Any, context: Any) -> tuple[Any, Any]:
        """z `(rows, features)` and ``log |dz/dx|`` `(rows,)`."""
        found: tuple[Any, Any] = self._module(context).transform.call_and_ladj(x)
        return found

    def loss(self, x: Any, context: Any) -> Tensor:
        """Negative log-likelihood of each row."""
        return negative_log_likelihood(self, x, context)

    def inverse(self, z: Any, context: Any) -> Tensor:
        """x `(rows, features)`; without gradients."""
        with self._torch.no_grad():
            x: Tensor = self._module(context).transform.inv(z)
        return x

    def parameters(self) -> list[Any]:
        """Leaves to train."""
        return [leaf for leaf in self._module.parameters() if leaf.requires_grad]

    def decayed(self) -> list[Any]:
        """The matrices."""
        return [leaf.detach() for leaf in self.parameters() if leaf.ndim > 1]

    def state(self) -> State:
        """Copies of parameters and buffers."""
        return {
            name: value.detach().cpu().numpy().copy()
            for name, value in self._module.state_dict().items()
        }

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Replace all parameters.

        Raises:
            StateError: They are those of another flow.
        """
        tensors = {name: self._torch.from_numpy(np.array(value)) for name, value in state.items()}
        try:
            self._module.load_state_dict(tensors)
        except RuntimeError as error:
            message = f"these parameters belong to another flow than flow= makes: {error}"
            raise StateError(message) from error
