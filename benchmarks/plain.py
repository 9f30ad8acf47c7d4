"""The plain ways: one model at a time in torch, from a DataLoader with transforms or one tensor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from benchmarks.images import MEAN, STD, Grey
from engine.work.vision_ops import declare_vision_ops

BATCH = 256
RATE, MOMENTUM, DECAY = 0.001, 0.9, 1e-4


class LeNet5Mini(nn.Module):
    """LeNet5-Mini with so many filters in its three convolutions."""

    def __init__(self, conv1: int = 10, conv2: int = 10, conv3: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, conv1, 5)
        self.conv2 = nn.Conv2d(conv1, conv2, 5)
        self.conv3 = nn.Conv2d(conv2, conv3, 5)
        self.fc1 = nn.Linear(conv3, 10)
        self.fc2 = nn.Linear(10, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = functional.relu(self.conv3(x)).flatten(1)
        logits: Tensor = self.fc2(functional.relu(self.fc1(x)))
        return logits

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Copies of the parameters."""
        return {name: value.numpy().copy() for name, value in self.state_dict().items()}


class Transformed(Dataset[tuple[Tensor, int]]):
    """Every image resized by PIL, made a tensor and normalised each time it is asked for.

    The images are kept and read as torchvision's MNIST and FashionMNIST do it.
    """

    def __init__(self, grey: Grey) -> None:
        declare_vision_ops()
        from torchvision import transforms

        self.data = torch.from_numpy(grey.pixels.copy())
        self.targets = torch.from_numpy(grey.labels)
        self.transform = transforms.Compose(
            [
                transforms.Resize((32, 32)),
                transforms.ToTensor(),
                transforms.Normalize((MEAN,), (STD,)),
            ]
        )

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.data[index].numpy())
        tensor: Tensor = self.transform(image)
        return tensor, int(self.targets[index])


def loader(grey: Grey, *, shuffle: bool) -> Iterable[tuple[Tensor, Tensor]]:
    """Batches from a DataLoader in this process, so that its CPU time is counted."""
    return DataLoader(Transformed(grey), BATCH, shuffle=shuffle)


class Preloaded:
    """Batches cut from one tensor that holds the whole, normalised data set."""

    def __init__(self, x: Tensor, y: Tensor, *, shuffle: bool, batch: int = BATCH) -> None:
        self.x, self.y, self.shuffle, self.batch = x, y, shuffle, batch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.shuffle:
            for indices in torch.split(torch.randperm(len(self.x)), self.batch):
                yield self.x[indices], self.y[indices]
        else:
            yield from zip(
                torch.split(self.x, self.batch), torch.split(self.y, self.batch), strict=True
            )


def train(
    model: nn.Module, optimiser: torch.optim.Optimizer, batches: Iterable[tuple[Tensor, Tensor]]
) -> int:
    """One epoch; returns the number of samples."""
    model.train()
    samples = 0
    for x, y in batches:
        optimiser.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        samples += len(y)
    return samples


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> int:
    """Mean loss and accuracy; returns the number of samples."""
    model.eval()
    samples, loss, hits = 0, 0.0, 0
    for x, y in batches:
        out = model(x)
        loss += float(functional.cross_entropy(out, y)) * len(y)
        hits += int((out.argmax(1) == y).sum())
        samples += len(y)
    return samples


def sgd(model: nn.Module) -> torch.optim.SGD:
    """The optimiser of the study's retraining."""
    return torch.optim.SGD(model.parameters(), RATE, momentum=MOMENTUM, weight_decay=DECAY)
