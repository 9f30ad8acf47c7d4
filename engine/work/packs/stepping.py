"""One step of a recipe behind the gradient: clipping, optimiser, masks and averaged weights.

For single networks by torch's own parts, for stacked ones by the same formulas over tensors
(K, ...), in which no candidate reads another's.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from engine.recipe import Recipe
from engine.work.packs.base import AVERAGE, MOMENTUM, STEPS, VARIANCE

SECOND_BETA = 0.999
EPSILON = 1e-8
# What torch.nn.utils.clip_grad_norm_ adds to a norm that it divides by.
_CLIP_EPSILON = 1e-6

Masks = Mapping[str, Tensor]


class Trainer:
    """Optimiser and average of one network."""

    def __init__(self, network: nn.Module, recipe: Recipe, masks: Masks | None = None) -> None:
        """Takes the network, its recipe, and which weights are left of it.

        Args:
            network: The network, on its device.
            recipe: What it is trained by.
            masks: By parameter, True where a weight is left; the others stay zero.
        """
        self.network, self._recipe = network, recipe
        named = network.named_parameters()
        # Where low-rank updates are trained, the weights are not, and have nothing to keep.
        parameters = {name: own for name, own in named if own.requires_grad}
        self._gone = {
            name: ~mask.to(parameters[name].device) for name, mask in (masks or {}).items()
        }
        self._parameters = parameters
        self._optimiser = _optimiser(parameters, recipe)
        self._average = copy.deepcopy(network) if recipe.ema else None

    @property
    def judged(self) -> nn.Module:
        """The network that is evaluated: of averaged weights where the recipe averages."""
        return self.network if self._average is None else self._average

    def set_rate(self, rate: float) -> None:
        """Sets the learning rate."""
        for group in self._optimiser.param_groups:
            group["lr"] = rate

    def step(self, loss: Tensor) -> None:
        """Takes one step down a loss of the network."""
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        # A pruned weight has no gradient: its momentum stays zero, nothing decays, and it is not
        # in the norm.
        for name, gone in self._gone.items():
            gradient = self._parameters[name].grad
            if gradient is not None:
                gradient.masked_fill_(gone, 0)
        if self._recipe.clip:
            nn.utils.clip_grad_norm_(self._parameters.values(), self._recipe.clip)
        self._optimiser.step()
        if self._average is not None:
            own = self.network.state_dict()
            for name, tensor in self._average.state_dict().items():
                average_(tensor, own[name], self._recipe.ema)

    def state(self) -> dict[str, Tensor]:
        """Returns what training changes: parameters, buffers, optimiser and average."""
        state = dict(self.network.state_dict())
        known = self._optimiser.state
        for name, parameter in self._parameters.items():
            for prefix, buffer in _buffers(self._recipe).items():
                # torch makes the momentum with the first step; before, it is as good as zero.
                found = known[parameter].get(buffer)
                state[prefix + name] = torch.zeros_like(parameter) if found is None else found
        if self._recipe.optimiser == "adamw":
            # A parameter that nothing reads has no gradient, and takes no steps.
            steps = [float(own["step"]) for own in known.values() if "step" in own]
            state[STEPS] = torch.tensor(max(steps, default=0.0), dtype=torch.float64)
        if self._average is not None:
            average = self._average.state_dict()
            state |= {AVERAGE + name: tensor for name, tensor in average.items()}
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `state` returned, for this network alone."""
        self.network.load_state_dict({name: state[name] for name in self.network.state_dict()})
        for name, parameter in self._parameters.items():
            own = self._optimiser.state[parameter]
            for prefix, buffer in _buffers(self._recipe).items():
                own[buffer] = state[prefix + name].to(parameter.device, copy=True)
            if self._recipe.optimiser == "adamw":
                own["step"] = state[STEPS].to(torch.float32, copy=True)
        if self._average is not None:
            names = self._average.state_dict()
            self._average.load_state_dict({name: state[AVERAGE + name] for name in names})


class StackedStep:
    """The same for K networks of stacked parameters, which share no buffers."""

    def __init__(
        self, parameters: Mapping[str, Tensor], recipe: Recipe, masks: Masks | None = None
    ) -> None:
        """Takes the parameters (K, ...), which steps change in place; masks as for `Trainer`."""
        self._parameters, self._recipe = parameters, recipe
        self._gone = {
            name: ~mask.to(parameters[name].device) for name, mask in (masks or {}).items()
        }
        first = next(iter(parameters.values()))
        self._moments = {
            prefix: {name: torch.zeros_like(p.detach()) for name, p in parameters.items()}
            for prefix in _buffers(recipe)
        }
        self._steps = torch.zeros(len(first), dtype=torch.float64, device=first.device)
        self._average = (
            {name: p.detach().clone() for name, p in parameters.items()} if recipe.ema else None
        )

    @property
    def judged(self) -> Mapping[str, Tensor]:
        """The parameters that are evaluated: the averaged ones where the recipe averages."""
        return self._parameters if self._average is None else self._average

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor], rate: Tensor) -> None:
        """Takes one step.

        Args:
            gradients: By parameter, (K, ...).
            rate: The learning rate, a tensor without dimensions.
        """
        recipe = self._recipe
        masked = {
            name: gradient.masked_fill(self._gone[name], 0) if name in self._gone else gradient
            for name, gradient in gradients.items()
        }
        if recipe.clip:
            norms = [gradient.flatten(1).norm(dim=1) for gradient in masked.values()]
            scale = (recipe.clip / (torch.stack(norms).norm(dim=0) + _CLIP_EPSILON)).clamp(max=1)
            masked = {name: g * _spread(scale, g) for name, g in masked.items()}
        self._steps += 1
        for name, parameter in self._parameters.items():
            momentum, gradient = self._moments[MOMENTUM][name], masked[name]
            if recipe.optimiser == "sgd":
                momentum.mul_(recipe.momentum)
                momentum.add_(gradient.add(parameter, alpha=recipe.weight_decay))
                parameter.sub_(momentum * rate)
            else:
                self._adamw(name, parameter, momentum, gradient, rate)
            if self._average is not None:
                average_(self._average[name], parameter, recipe.ema)

    def _adamw(
        self, name: str, parameter: Tensor, momentum: Tensor, gradient: Tensor, rate: Tensor
    ) -> None:
        """Loshchilov and Hutter, ICLR 2019, in the order of torch.optim.AdamW."""
        recipe, variance = self._recipe, self._moments[VARIANCE][name]
        parameter.mul_(1 - rate * recipe.weight_decay)
        momentum.lerp_(gradient, 1 - recipe.momentum)
        variance.mul_(SECOND_BETA).addcmul_(gradient, gradient, value=1 - SECOND_BETA)
        first = (1 - recipe.momentum**self._steps).to(parameter.dtype)
        second = (1 - SECOND_BETA**self._steps).sqrt().to(parameter.dtype)
        scale = (variance.sqrt() / _spread(second, variance)).add_(EPSILON)
        parameter.sub_(momentum / scale * _spread(rate / first, momentum))

    def state(self) -> dict[str, Tensor]:
        """Returns parameters, optimiser and average, not copied."""
        state = {name: tensor.detach() for name, tensor in self._parameters.items()}
        for prefix, tensors in self._moments.items():
            state |= {prefix + name: tensor for name, tensor in tensors.items()}
        if self._recipe.optimiser == "adamw":
            state[STEPS] = self._steps
        state |= {AVERAGE + name: tensor for name, tensor in (self._average or {}).items()}
        return state

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `state` returned."""
        for name, own in self.state().items():
            own.copy_(state[name])


def average_(average: Tensor, value: Tensor, decay: float) -> None:
    """Moves a running average on to a value; what is counted, not measured, is copied."""
    if average.is_floating_point():
        average.lerp_(value.detach(), 1 - decay)
    else:
        average.copy_(value)


def _spread(values: Tensor, like: Tensor) -> Tensor:
    """Returns one value a candidate, (K,), in a shape that multiplies tensors (K, ...)."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _buffers(recipe: Recipe) -> Mapping[str, str]:
    """Returns the prefix of each of the optimiser's tensors in a state, and torch's name of it."""
    if recipe.optimiser == "adamw":
        return {MOMENTUM: "exp_avg", VARIANCE: "exp_avg_sq"}
    return {MOMENTUM: "momentum_buffer"}


def _optimiser(parameters: Mapping[str, Tensor], recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(
            parameters.values(),
            lr=recipe.learning_rate,
            betas=(recipe.momentum, SECOND_BETA),
            eps=EPSILON,
            weight_decay=recipe.weight_decay,
        )
    return torch.optim.SGD(
        parameters.values(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
