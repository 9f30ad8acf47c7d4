"""Loss and accuracy of the pruned networks, as they are and with BatchNorm recalibrated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from engine.work.bench import Pruned
from engine.work.criteria.subject import Scores, Subject, Tell
from engine.work.packs.base import repeatable
from engine.work.packs.solo import evaluate_network, images_at_a_time

RECALIBRATION_BATCHES = 10


def plain_scores(subject: Subject, candidates: Sequence[Pruned], tell: Tell) -> Scores:
    """Pruned train loss and accuracy."""
    found = subject.evaluation(candidates, tell)
    return {"pruned_train_loss": found.loss, "pruned_train_acc": found.accuracy}


def recalibrated_scores(subject: Subject, candidates: Sequence[Pruned], tell: Tell) -> Scores:
    """The same after BatchNorm's statistics were estimated anew for each pruned network.

    EagleEye (Li et al., ECCV 2020). Without BatchNorm there is nothing to estimate, and these are
    the plain numbers.
    """
    if not has_batchnorm(subject.network):
        plain = subject.evaluation(candidates, tell)
        return {"recalibrated_train_loss": plain.loss, "recalibrated_train_acc": plain.accuracy}
    size = subject.bench.spec.retrain.batch_size
    images, _ = subject.train_sample(RECALIBRATION_BATCHES * size, "recalibration")
    results = []
    for place, candidate in enumerate(candidates):
        network = subject.pruned_network(candidate)
        recalibrate(network, images, size)
        found = evaluate_network(
            network,
            subject.train_images,
            subject.train_labels,
            images_at_a_time(subject.bench.spec.model_info, subject.bench.device),
        )
        results.append(found)
        tell(place + 1)
    loss, accuracy = np.array(results, np.float64).reshape(-1, 2).T
    return {"recalibrated_train_loss": loss, "recalibrated_train_acc": accuracy}


def has_batchnorm(network: nn.Module) -> bool:
    """Tells whether a network keeps running statistics that can be estimated anew."""
    return bool(_norms(network))


def recalibrate(network: nn.Module, images: Tensor, batch_size: int) -> None:
    """Sets BatchNorm's running statistics to the mean over batches of these images.

    The network is left in eval mode; nothing else in it changes.

    Args:
        network: Any network.
        images: The images, in the order of the batches.
        batch_size: Images of a batch.
    """
    norms = _norms(network)
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for the plain mean over batches
        norm.train()
    with torch.no_grad(), repeatable():
        for batch in torch.split(images, batch_size):
            network(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _norms(network: nn.Module) -> list[_BatchNorm]:
    return [
        module
        for module in network.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    ]
