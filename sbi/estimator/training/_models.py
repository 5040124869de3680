"""The networks of a training: one module of torch, or several of one shape as one batched network.

A batched network keeps each weight of its members in one array `(members, ...)`. All members see
the same batches; they differ in their first weights, their learning rates and when they stop. On a
GPU this takes about as long as one small network, whose steps hardly occupy it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from rootml.sbi.estimator.graph._network import Layers, layers_of

Loss = Any
"""``loss(network, torch, *tensors)``: the sum of weighted losses, a tensor."""


class Model(Protocol):
    """One or several networks and their optimiser."""

    def losses(self, loss: Loss, tensors: Sequence[Any]) -> Any:
        """The loss of each member, `(members,)`."""
        ...

    def update(self, losses: Any, rates: Sequence[float]) -> None:
        """One step of the optimiser, with a learning rate for each member."""
        ...

    def copy(self, member: int) -> Any:
        """The weights of a member, as they are now."""
        ...

    def restore(self, member: int, weights: Any) -> None:
        """Set the weights of a member."""
        ...

    def layers(self, member: int) -> Layers:
        """The weights of a member as arrays."""
        ...


class SingleModel:
    """One network, by Adam."""

    def __init__(self, torch: Any, network: Any) -> None:
        self._torch, self._network = torch, network
        self._optimizer = torch.optim.Adam(network.parameters())

    def losses(self, loss: Loss, tensors: Sequence[Any]) -> Any:
        """The loss, `(1,)`."""
        return loss(self._network, self._torch, *tensors)[None]

    def update(self, losses: Any, rates: Sequence[float]) -> None:
        """One step of the optimiser."""
        for group in self._optimizer.param_groups:
            group["lr"] = rates[0]
        self._optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        self._optimizer.step()

    def copy(self, member: int) -> Any:  # noqa: ARG002 - the only one
        """The weights."""
        return {name: values.clone() for name, values in self._network.state_dict().items()}

    def restore(self, member: int, weights: Any) -> None:  # noqa: ARG002 - the only one
        """Set the weights."""
        self._network.load_state_dict(weights)

    def layers(self, member: int) -> Layers:  # noqa: ARG002 - the only one
        """The weights as arrays."""
        return layers_of(self._network)


class BatchedModel:
    """Several networks of one shape as one, by Adam with a learning rate for each."""

    def __init__(self, torch: Any, networks: Sequence[Any]) -> None:
        self._torch = torch
        self._shape = networks[0]  # its weights are not used
        self._weights, _ = torch.func.stack_module_state(list(networks))
        self._adam = MemberAdam(torch, list(self._weights.values()))

    def losses(self, loss: Loss, tensors: Sequence[Any]) -> Any:
        """The loss of each member, `(members,)`."""
        torch = self._torch

        def one(weights: Any) -> Any:
            def network(x: Any) -> Any:
                return torch.func.functional_call(self._shape, weights, (x,))

            return loss(network, torch, *tensors)

        every: Callable[[Any], Any] = torch.func.vmap(one)
        return every(self._weights)

    def update(self, losses: Any, rates: Sequence[float]) -> None:
        """One step of the optimiser."""
        for values in self._weights.values():
            values.grad = None
        losses.sum().backward()
        self._adam.step(rates)

    def copy(self, member: int) -> Any:
        """The weights of a member."""
        return {name: values[member].detach().clone() for name, values in self._weights.items()}

    def restore(self, member: int, weights: Any) -> None:
        """Set the weights of a member."""
        with self._torch.no_grad():
            for name, values in self._weights.items():
                values[member] = weights[name]

    def layers(self, member: int) -> Layers:
        """The weights of a member as arrays."""
        self._shape.load_state_dict(self.copy(member))
        return layers_of(self._shape)


class MemberAdam:
    """Adam, with a learning rate for each member of arrays `(members, ...)`.

    A rate of 0 leaves the weights of a member as they are.

    Source: D. Kingma, J. Ba, https://arxiv.org/abs/1412.6980.
    """

    def __init__(
        self, torch: Any, weights: Sequence[Any], *, decay: tuple[float, float] = (0.9, 0.999),
        floor: float = 1e-8,
    ) -> None:  # fmt: skip
        self._torch, self._weights = torch, weights
        self._decay, self._floor = decay, floor
        self._steps = 0
        self._moments = [(torch.zeros_like(w), torch.zeros_like(w)) for w in weights]

    def step(self, rates: Sequence[float]) -> None:
        """One step along the gradients that the weights hold."""
        self._steps += 1
        first, second = (1.0 - decay**self._steps for decay in self._decay)
        with self._torch.no_grad():
            rate = self._torch.tensor(rates, dtype=self._weights[0].dtype).to(
                self._weights[0].device, non_blocking=True
            )
            for values, (mean, square) in zip(self._weights, self._moments, strict=True):
                mean.lerp_(values.grad, 1.0 - self._decay[0])
                square.mul_(self._decay[1]).addcmul_(
                    values.grad, values.grad, value=1.0 - self._decay[1]
                )
                size = (square / second).sqrt_().add_(self._floor)
                each = rate.reshape(-1, *[1] * (values.dim() - 1))
                values.sub_(each / first * mean / size)
