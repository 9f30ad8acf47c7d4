"""Where a study is worked on: reading executors and shards, and choosing GPUs."""

from __future__ import annotations

import importlib.util

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.gpus import Gpu, GpuUser, choose, shown
from engine.placement import Placement, check_executor, read_placement
from engine.shards import read_shard, share
from engine.study_rules import SpecError

GB = 10**9


@pytest.mark.parametrize(
    ("text", "placement"),
    [
        ("inline", Placement()),
        ("processes", Placement("processes")),
        ("processes:3", Placement("processes", processes=3)),
        ("ray", Placement("ray")),
        ("ray:auto", Placement("ray", address="auto")),
        ("ray:ray://head:10001", Placement("ray", address="ray://head:10001")),
        ("ray:10.0.0.1:6379,gpus=0.5", Placement("ray", address="10.0.0.1:6379", gpus=0.5)),
        ("ray,cpus=4,memory=8G", Placement("ray", cpus=4, memory=8 * GB)),
    ],
)
def test_an_executor_is_read(text: str, placement: Placement) -> None:
    assert read_placement(text) == placement


@pytest.mark.parametrize(
    "text",
    [
        "",
        "threads",
        "processes:0",
        "processes:x",
        "processes:1000",
        "ray:a,gpus=2",
        "ray,cpus=1.5",
        "ray,memory=much",
        "ray,gpus=nan",
        "ray,disks=2",
    ],
)
def test_what_is_no_executor_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(SpecError) as refusal:
        read_placement(text)
    assert refusal.value.field == "executor"
    assert "\n" not in str(refusal.value)


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_it_is_said_how_to_get_it() -> None:
    with pytest.raises(SpecError, match=r"pip install 'oracle-tui\[ray\]'"):
        check_executor("ray")


def test_a_missing_ray_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ray" else there(name)
    )
    with pytest.raises(SpecError, match=r"pip install 'oracle-tui\[ray\]'"):
        check_executor("ray:auto")


@given(st.lists(st.integers(), unique=True), st.integers(1, 9))
def test_shards_are_disjoint_and_miss_nothing(order: list[int], count: int) -> None:
    parts = [share(order, (index, count)) for index in range(count)]
    assert sorted(c for part in parts for c in part) == sorted(order)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert share(order, None) == order


@pytest.mark.parametrize("text", ["", "1", "4/4", "-1/4", "1/0", "a/b", "1/2/3"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="A shard is i/n"):
        read_shard(text)
    assert read_shard(" 3/4 ") == (3, 4)


def gpu(index: int, used: int = 0, use: float = 0.0, *users: GpuUser) -> Gpu:
    return Gpu(index, f"GPU-{index:04d}-aa", "H100", 80 * GB, used * GB, use, users)


BOB, ME, UNSEEN = GpuUser(11, "bob"), GpuUser(12, "me"), GpuUser(13, "")


def test_a_gpu_of_another_user_is_never_taken() -> None:
    gpus = [gpu(0, 1, 0, BOB), gpu(1), gpu(2, 1, 0, UNSEEN)]
    assert choose(gpus, None, "me") == [gpus[1]]
    assert choose(gpus, 3, "me") == [gpus[1]] * 3
    with pytest.raises(UsageError, match="GPU 0 is used by process 11 of bob; GPU 2 is used by"):
        choose([gpus[0], gpus[2]], 1, "me")


def test_a_gpu_that_is_full_or_busy_by_nobody_one_sees_is_not_free() -> None:
    with pytest.raises(UsageError, match=r"GPU 0 is taken: 40\.0 GB .*; GPU 1 is 90% busy"):
        choose([gpu(0, 40), gpu(1, 0, 0.9)], None, "me")


def test_an_own_gpu_is_shared_only_where_no_other_is_left() -> None:
    shared = gpu(0, 30, 0.8, ME)
    assert choose([shared, gpu(1)], None, "me") == [gpu(1)]
    assert choose([shared], 1, "me") == [shared]
    assert "shared with process 12 of me" in str(shared)


def test_most_free_memory_comes_first_and_each_free_gpu_gets_a_worker() -> None:
    gpus = [gpu(0, 5), gpu(1, 0), gpu(2, 2)]
    assert [g.index for g in choose(gpus, None, "me")] == [1, 2, 0]
    assert [g.index for g in choose(gpus, 2, "me")] == [1, 2]
    assert [g.index for g in choose(gpus, 4, "me")] == [1, 2, 0, 1]


@pytest.mark.parametrize(
    ("visible", "indices"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("2,0", [2, 0]),
        ("GPU-0001", [1]),
        ("1,-1,0", [1]),
        ("1,9,0", [1]),
        ("1,1", [1]),
        ("GPU-000", []),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_does(visible: str | None, indices: list[int]) -> None:
    assert [g.index for g in shown([gpu(0), gpu(1), gpu(2)], visible)] == indices
