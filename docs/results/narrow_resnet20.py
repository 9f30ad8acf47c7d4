"""ResNet20 with half the filters of every stage: 8, 16 and 32; for studies that a CPU finishes."""

from itertools import pairwise

from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Two 3x3 convolutions with BatchNorm beside a shortcut without parameters (option A)."""

    def __init__(self, inputs, width):
        super().__init__()
        self.stride = 1 if inputs == width else 2
        self.conv1 = nn.Conv2d(inputs, width, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, maps):
        """Returns the maps that the next block reads."""
        beside = maps
        if self.stride == 2:
            zeros = (self.conv2.out_channels - maps.shape[1]) // 2
            beside = functional.pad(maps[:, :, ::2, ::2], (0, 0, 0, 0, zeros, zeros))
        maps = functional.relu(self.bn1(self.conv1(maps)))
        return functional.relu(self.bn2(self.conv2(maps)) + beside)


class NarrowResNet20(nn.Module):
    """Three stages of three blocks, as He et al. (2016) build ResNet20 for CIFAR."""

    size, channels = 28, 1

    def __init__(self, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        widths = [8, 8, 8, 8, 16, 16, 16, 32, 32, 32]
        pairs = list(pairwise(widths))
        self.layer1 = nn.Sequential(*(Block(*pair) for pair in pairs[:3]))
        self.layer2 = nn.Sequential(*(Block(*pair) for pair in pairs[3:6]))
        self.layer3 = nn.Sequential(*(Block(*pair) for pair in pairs[6:]))
        self.fc = nn.Linear(32, classes)

    def forward(self, images):
        """Returns the logits."""
        maps = functional.relu(self.bn1(self.conv1(images)))
        maps = self.layer3(self.layer2(self.layer1(maps)))
        return self.fc(maps.mean((2, 3)))
