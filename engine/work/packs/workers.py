"""Threads that work on networks side by side, each computing as if it were alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from engine.work.packs.base import repeatable

Result = TypeVar("Result")


class Workers:
    """Runs tasks on networks side by side, or one after another with all threads on each.

    Side by side, every network is computed by one thread of torch's, so that what becomes of it
    depends neither on the number of workers nor on its neighbours. Otherwise torch's threads share
    each network: sums are then rounded by how many they are, so that number must be a constant.
    """

    def __init__(self, threads: int, torch_threads: int = 1) -> None:
        """Takes how many tasks are worked on at a time, and torch's threads for each.

        Where `torch_threads` is more than 1, tasks are worked on one after another.
        """
        self._threads = max(1, threads) if torch_threads == 1 else 1
        self._torch_threads = torch_threads

    @property
    def count(self) -> int:
        """How many tasks are worked on at a time."""
        return self._threads

    def run(self, tasks: Sequence[Callable[[], Result]]) -> list[Result]:
        """Returns what the tasks return, in their order; raises what the first to fail raises."""
        with repeatable(self._torch_threads):
            if self._threads == 1 or len(tasks) == 1:
                return [task() for task in tasks]
            # torch keeps the number of its threads per thread.
            with ThreadPoolExecutor(
                self._threads, initializer=torch.set_num_threads, initargs=(1,)
            ) as pool:
                return list(pool.map(lambda task: task(), tasks))
