"""What travels to a worker that has no file in common with its driver."""

from dataclasses import fields

import torch

from engine.work.executors.setup import BenchSetup
from tests.executors.test_driver import make_bench


def test_a_worker_builds_the_bench_it_was_given() -> None:
    bench = make_bench()
    setup = BenchSetup.of(bench, "cpu", 1, folder=None, with_data=True)
    built = setup.bench()
    for field in fields(bench.data):
        ours, theirs = (getattr(data, field.name) for data in (bench.data, built.data))
        if isinstance(ours, torch.Tensor):
            assert torch.equal(ours, theirs), field.name
        else:
            assert ours == theirs, field.name
    assert built.spec == bench.spec
    for name, tensor in bench.base.state.items():
        assert torch.equal(tensor, built.base.state[name]), name
