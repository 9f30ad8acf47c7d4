"""K tiny CNNs trained and evaluated as one computation on all cores, by the fused kernels.

Each candidate is computed alone, by one thread, in an order of operations that never depends on the
others: its numbers are the same bits whatever K, the pack and the number of threads are. What
the candidates share is the loading and packing of the batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError
from engine.work.tiny_cnn.architecture import Architecture, Floats, State
from engine.work.tiny_cnn.evaluation import Doubles, evaluate_parameters, ranges, run_all
from engine.work.tiny_cnn.feed import Images, Packed
from engine.work.tiny_cnn.kernels import network, packing, scoring
from engine.work.tiny_cnn.program import aligned, program

# Samples packed at a time in training: a few batches, so that threads seldom wait for each other.
_TRAINING_SAMPLES = 1024


class FusedPack:
    """K candidates of one architecture with the momenta of their optimiser.

    Args:
        states: state dicts of the candidates (arrays by torch names, all of the same shapes).
        train_images: normalised float32 ``[N, 32, 32]``; shared, not copied.
        train_labels: integers ``[N]``.
        test_images: as train_images.
        test_labels: integers.
        batch_size: samples per SGD step; the last batch of an order may be smaller.
        momentum: torch.optim.SGD's momentum (no dampening, no Nesterov).
        weight_decay: added to the gradient.
        threads: number of threads.

    Raises:
        UsageError: the shapes do not fit the kernels or each other.
    """

    def __init__(
        self,
        states: Sequence[Mapping[str, Any]],
        train_images: Floats,
        train_labels: NDArray[Any],
        test_images: Floats,
        test_labels: NDArray[Any],
        *,
        batch_size: int,
        momentum: float,
        weight_decay: float,
        threads: int,
    ) -> None:
        if not states or batch_size < 1 or threads < 1:
            raise UsageError("A pack needs at least one network, one sample and one thread.")

        self._architecture = Architecture.of(states[0])
        self._program = program(self._architecture, True)
        self._parameters = self._architecture.flatten(states, self._program.parameters)
        self._momenta = np.zeros_like(self._parameters)
        classes = self._architecture.classes
        self._splits = {
            "train": Images.of(train_images, train_labels, classes),
            "test": Images.of(test_images, test_labels, classes),
        }
        self._batch_size = batch_size
        self._momentum = momentum
        self._weight_decay = weight_decay
        self._threads = threads
        self._packed: Packed | None = None
        self._spaces: SimpleQueue[Floats] = SimpleQueue()
        for _ in range(threads):
            self._spaces.put(aligned(self._program.space_size))

    @property
    def size(self) -> int:
        """Number of candidates."""
        return len(self._parameters)

    def train(self, order: NDArray[np.int64], lr: float) -> None:
        """One SGD step of every candidate per batch of this order.

        Args:
            order: indices into the train split; consecutive batches of `batch_size` are taken.
            lr: learning rate.

        Raises:
            UsageError: an index lies outside the train split.
        """
        split = self._splits["train"]
        order = np.ascontiguousarray(order, np.int64)
        if order.size and (order.min() < 0 or order.max() >= len(split)):
            raise UsageError(f"Sample indices must lie in 0..{len(split) - 1}.")
        size = self._batch_size
        batches = [order[i : i + size] for i in range(0, len(order), size)]
        together = max(1, min(len(batches), _TRAINING_SAMPLES // size))
        if self._packed is None or len(self._packed.sizes) < together:
            self._packed = Packed.room(together, size)
        packed, kernel = self._packed, network.train()

        def work(first: int, end: int, count: int) -> None:
            space, ignored = self._spaces.get(), np.zeros(2)
            try:
                kernel.call(
                    self._program.table.ctypes.data,
                    packed.images.ctypes.data,
                    packed.labels.ctypes.data,
                    packed.sizes.ctypes.data,
                    count,
                    packed.groups,
                    self._parameters.ctypes.data,
                    self._momenta.ctypes.data,
                    first,
                    end,
                    lr,
                    self._momentum,
                    self._weight_decay,
                    ignored.ctypes.data,
                    space.ctypes.data,
                )
            finally:
                self._spaces.put(space)

        with ThreadPoolExecutor(self._threads) as pool:
            for start in range(0, len(batches), together):
                chunk = batches[start : start + together]
                packed.fill(split, chunk)
                # several ranges for each thread, so that none waits for long
                parts = ranges(self.size, 4 * self._threads)
                run_all(pool, ((work, (first, end, len(chunk))) for first, end in parts))

    def evaluate(self, split: Literal["train", "test"]) -> tuple[Doubles, Doubles]:
        """Mean cross-entropy and accuracy (0..1) of every candidate over a whole split.

        Returns:
            (loss, accuracy), each float64 ``[K]``; NaN where a candidate has diverged.
        """
        return evaluate_parameters(
            program(self._architecture, False),
            self._parameters,
            self._splits[split],
            self._threads,
        )

    def state_dicts(self) -> list[State]:
        """Copies of the candidates' parameters by their torch names."""
        return self._architecture.unflatten(self._parameters)

    def state(self) -> dict[str, Floats]:
        """All that a checkpoint needs: copies of parameters and momenta."""
        return {"parameters": self._parameters.copy(), "momenta": self._momenta.copy()}

    def load_state(self, state: Mapping[str, Floats]) -> None:
        """Go back to what `state` returned.

        Raises:
            UsageError: the arrays are not of this pack's shape.
        """
        for name, own in (("parameters", self._parameters), ("momenta", self._momenta)):
            given = state.get(name)
            # vectors may be longer where the state was saved: the rest is padding
            count = self._architecture.size
            if given is None or given.shape[0] != len(own) or given.shape[1] < count:
                raise UsageError(f"The saved pack's {name} do not fit this pack.")
            own[:, :count] = given[:, :count]


def warm_up(state: Mapping[str, Any], progress: Callable[[int, int], None] | None = None) -> float:
    """Compile (or load from disk) what the network of this state dict needs.

    Args:
        state: a state dict of the architecture.
        progress: called with (done, total) while it goes on.

    Returns:
        Seconds spent.

    Raises:
        UsageError: the network is not of the family.
    """
    architecture = Architecture.of(state)
    started = time.perf_counter()

    steps: list[Callable[[], object]] = [
        packing.pack_images,
        lambda: program(architecture, False),
        network.evaluate,
        lambda: program(architecture, True),
        network.train,
        scoring.finish,
        scoring.score_conv1,
        scoring.score_dense,
    ]
    for done, step in enumerate(steps):
        if progress is not None:
            progress(done, len(steps))
        step()
    if progress is not None:
        progress(len(steps), len(steps))
    return time.perf_counter() - started
