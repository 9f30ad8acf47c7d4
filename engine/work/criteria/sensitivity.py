"""Criteria from derivatives of the base network's train loss: Taylor, Hessian, Fisher, SNIP, GraSP.

Everything is taken in eval mode, where BatchNorm is a fixed scale and shift.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from engine.work.bench import Pruned
from engine.work.criteria.filters import Importance, gates, per_filter
from engine.work.criteria.subject import Scores, Subject, Tell
from engine.work.packs.base import repeatable
from engine.work.surgery import Slice

SAMPLE = 1_024
PROBES = 16
_IMAGES_AT_A_TIME = 1_000
_GRADIENTS_AT_A_TIME = 32

Tensors = Mapping[str, Tensor]


def loss_gradient(
    network: nn.Module, images: Tensor, labels: Tensor, between: Callable[[], None] | None = None
) -> dict[str, Tensor]:
    """Returns the gradient of the mean cross-entropy, by parameter, float64.

    `between` is called between steps and may raise.
    """
    parameters = dict(network.named_parameters())
    total = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in parameters.items()}
    for start in range(0, len(labels), _IMAGES_AT_A_TIME):
        piece = slice(start, start + _IMAGES_AT_A_TIME)
        with repeatable():
            loss = functional.cross_entropy(network(images[piece]), labels[piece], reduction="sum")
            found = torch.autograd.grad(loss, list(parameters.values()))
        for name, part in zip(parameters, found, strict=True):
            total[name] += part
        if between:
            between()
    return {name: tensor / len(labels) for name, tensor in total.items()}


def hessian_vector(
    network: nn.Module, images: Tensor, labels: Tensor, vector: Tensors
) -> dict[str, Tensor]:
    """Returns the Hessian of the mean cross-entropy times a vector, by parameter, float64.

    Args:
        network: In eval mode.
        images: What the loss is over.
        labels: Their classes.
        vector: By parameter; what is not named is zero, and is not in the product either.
    """
    chosen = [parameter for name, parameter in network.named_parameters() if name in vector]
    names = [name for name, _ in network.named_parameters() if name in vector]
    total = {name: torch.zeros_like(vector[name], dtype=torch.float64) for name in names}
    for start in range(0, len(labels), _IMAGES_AT_A_TIME):
        piece = slice(start, start + _IMAGES_AT_A_TIME)
        # Of the ways to compute attention only this one has second derivatives.
        with repeatable(), sdpa_kernel(SDPBackend.MATH):
            loss = functional.cross_entropy(network(images[piece]), labels[piece], reduction="sum")
            first = torch.autograd.grad(loss, chosen, create_graph=True)
            along = torch.stack(
                [(g * vector[n].to(g)).sum() for n, g in zip(names, first, strict=True)]
            ).sum()
            second = torch.autograd.grad(along, chosen)
        for name, part in zip(names, second, strict=True):
            total[name] += part
    return {name: tensor / len(labels) for name, tensor in total.items()}


def hessian_diagonal(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    names: Sequence[str],
    seed: int,
    probes: int = PROBES,
    between: Callable[[], None] | None = None,
) -> dict[str, Tensor]:
    """Estimates the diagonal of the Hessian of the mean cross-entropy over some parameters.

    Hutchinson's estimator (Bekas, Kokiopoulou, Saad 2007): the mean of z * Hz over probes z of
    random signs. Unbiased; its noise comes from the off-diagonal part and falls with the root of
    the probes.
    """
    shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
    generator = torch.Generator().manual_seed(seed)
    total = {name: torch.zeros(shapes[name], dtype=torch.float64) for name in names}
    for _ in range(probes):
        signs = {
            name: torch.randint(0, 2, shapes[name], generator=generator).mul(2).sub(1).double()
            for name in names
        }
        on_device = {name: tensor.to(images.device) for name, tensor in signs.items()}
        for name, product in hessian_vector(network, images, labels, on_device).items():
            total[name] += signs[name] * product.cpu()
        if between:
            between()
    return {name: tensor / probes for name, tensor in total.items()}


def fisher_diagonal(
    network: nn.Module, images: Tensor, labels: Tensor, names: Sequence[str]
) -> dict[str, Tensor]:
    """Returns the mean over images of the squared gradient of each one's own loss, float64."""
    everything = {name: p.detach() for name, p in network.named_parameters()}
    everything |= dict(network.named_buffers())
    chosen = {name: everything.pop(name) for name in names}

    def loss_of_one(some: Tensors, image: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(network, ({**everything, **some},), (image.unsqueeze(0),))
        return functional.cross_entropy(logits, label.unsqueeze(0))

    each = vmap(grad(loss_of_one), in_dims=(None, 0, 0))
    total = {name: torch.zeros_like(chosen[name], dtype=torch.float64) for name in names}
    for start in range(0, len(labels), _GRADIENTS_AT_A_TIME):
        piece = slice(start, start + _GRADIENTS_AT_A_TIME)
        with repeatable(), sdpa_kernel(SDPBackend.MATH):
            for name, part in each(chosen, images[piece], labels[piece]).items():
                total[name] += part.double().square().sum(0)
    return {name: tensor / len(labels) for name, tensor in total.items()}


def taylor(weights: Tensor, gradients: Tensor) -> Tensor:
    """|sum of w g| of each filter: how much the loss changes to first order without it.

    Molchanov et al., CVPR 2019 (there squared); (filters, n) each -> (filters,).
    """
    return (weights * gradients).sum(1).abs()


def snip(weights: Tensor, gradients: Tensor) -> Tensor:
    """Sum of |w g| of each filter: its connections' sensitivity (Lee et al., ICLR 2019)."""
    return (weights * gradients).abs().sum(1)


def brain_damage(weights: Tensor, diagonal: Tensor) -> Tensor:
    """Half the sum of h w^2 of each filter (LeCun et al., NeurIPS 1989)."""
    return (weights.square() * diagonal).sum(1) / 2


def grasp(weights: Tensor, products: Tensor) -> Tensor:
    """Minus the sum of w (Hg) of each filter (Wang et al., ICLR 2020, eq. 8).

    How the squared gradient changes to first order, but for a factor of two, when the filter
    goes: a low number means that less gradient flows.
    """
    return -(weights * products).sum(1)


def gradient_scores(subject: Subject, candidates: Sequence[Pruned], tell: Tell) -> Scores:
    """Taylor and SNIP: one gradient on the whole train set."""

    def both() -> tuple[Importance, Importance]:
        found = loss_gradient(
            subject.network, subject.train_images, subject.train_labels, lambda: tell(0)
        )
        return (
            _importance(subject, taylor, found, silencing=True),
            _importance(subject, snip, found, silencing=False),
        )

    by_taylor, by_snip = subject.remember("gradient", both)
    return {
        "taylor": subject.removed(by_taylor, candidates),
        "snip": subject.removed(by_snip, candidates),
    }


def hessian_scores(subject: Subject, candidates: Sequence[Pruned], tell: Tell) -> Scores:
    """Optimal brain damage with the estimated diagonal of the true Hessian."""

    def importance() -> Importance:
        images, labels = subject.train_sample(SAMPLE, "curvature")
        names = _silencing_names(subject)
        seed = subject.seed("probes")
        found = hessian_diagonal(
            subject.network, images, labels, names, seed, between=lambda: tell(0)
        )
        return _importance(subject, brain_damage, found, silencing=True)

    found = subject.remember("hessian", importance)
    return {"hessian": subject.removed(found, candidates)}


def fisher_scores(subject: Subject, candidates: Sequence[Pruned], tell: Tell) -> Scores:
    """Optimal brain damage with the empirical Fisher diagonal in the Hessian's place."""

    def importance() -> Importance:
        images, labels = subject.train_sample(SAMPLE, "curvature")
        found = fisher_diagonal(subject.network, images, labels, _silencing_names(subject))
        return _importance(subject, brain_damage, found, silencing=True)

    found = subject.remember("fisher", importance)
    return {"fisher": subject.removed(found, candidates)}


def grasp_scores(subject: Subject, candidates: Sequence[Pruned], tell: Tell) -> Scores:
    """GraSP: the Hessian times the gradient, both on a sample."""

    def importance() -> Importance:
        images, labels = subject.train_sample(SAMPLE, "curvature")
        gradient = loss_gradient(subject.network, images, labels)
        found = hessian_vector(subject.network, images, labels, gradient)
        return _importance(subject, grasp, found, silencing=False)

    found = subject.remember("grasp", importance)
    return {"grasp": subject.removed(found, candidates)}


def _importance(
    subject: Subject,
    combine: Callable[[Tensor, Tensor], Tensor],
    derivatives: Tensors,
    *,
    silencing: bool,
) -> Importance:
    """Combines weights and derivatives of the silencing, or of the layers' own, parameters."""
    parameters = dict(subject.network.named_parameters())
    found = {}
    for layer in subject.layers:
        if subject.masking is not None:
            pair = (subject.single_weights(of, layer) for of in (parameters, derivatives))
            found[layer] = combine(*pair).numpy()
            continue
        plan = subject.bench.plan[layer]
        slices: tuple[Slice, ...] = gates(plan, parameters) if silencing else plan.own
        weights = per_filter(parameters, slices, plan.filters)
        found[layer] = combine(weights, per_filter(derivatives, slices, plan.filters)).numpy()
    return found


def _silencing_names(subject: Subject) -> list[str]:
    if subject.masking is not None:
        return [name for names in subject.masking.tensors.values() for name in names]
    parameters = dict(subject.network.named_parameters())
    # Queries, keys and values of a head are in one tensor: it is named once.
    return list(
        dict.fromkeys(
            part.tensor
            for layer in subject.layers
            for part in gates(subject.bench.plan[layer], parameters)
        )
    )
