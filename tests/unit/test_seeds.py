"""Derived seeds: stable, and unrelated between purposes."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.seeds import derive_seed
from engine.store.reader import RunReader
from engine.work.batches import batch_order

RUNS = Path(__file__).resolve().parents[2] / "data" / "runs"

BATCHES_OF_SEED_0 = 7883774340374615953


def test_a_purpose_always_gives_the_same_seed():
    """Written down once: other numbers would make old studies irreproducible."""
    assert derive_seed(0, "batches", 0, 0) == BATCHES_OF_SEED_0
    assert derive_seed(0, "batches", 0, 0) == derive_seed(0, "batches", 0, 0)


def test_seeds_are_distinct_and_within_63_bits():
    purposes = [
        (seed, purpose, repeat, epoch)
        for seed in range(3)
        for purpose in ("batches", "base")
        for repeat in range(20)
        for epoch in range(20)
    ]
    seeds = {derive_seed(seed, *purpose) for seed, *purpose in purposes}
    assert len(seeds) == len(purposes)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_neighbours_share_no_pattern():
    """About half of the bits differ between one seed and the next."""
    flips = [(derive_seed(i, "x") ^ derive_seed(i + 1, "x")).bit_count() for i in range(500)]
    assert 30 < sum(flips) / len(flips) < 33


def test_parts_do_not_run_together():
    assert derive_seed(1, "a", 12) != derive_seed(1, "a", 1, 2)
    assert derive_seed(11, 2) != derive_seed(1, 12)


@pytest.mark.parametrize(
    "name", ["lenet5-mini-mnist-5k-conv1-0.5.h5", "tiny-llava-fashion-qa-0.5.h5"]
)
def test_the_seed_of_a_row_names_its_repeat(name: str) -> None:
    """As docs/reference/run-file.md says it, of recorded runs; batches have a seed an epoch."""
    with RunReader(RUNS / name) as reader:
        rows, seed = reader.rows, reader.config["spec"]["seed"]
    for repeat in np.unique(rows["repeat"]):
        text = f"{seed}/batches/{repeat}".encode()
        said = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1
        assert set(rows["seed"][rows["repeat"] == repeat].tolist()) == {said}
        generator = torch.Generator().manual_seed(derive_seed(seed, "batches", int(repeat), 2))
        order = torch.randperm(50, generator=generator).tolist()
        assert batch_order(seed, int(repeat), 2, 50).tolist() == order
