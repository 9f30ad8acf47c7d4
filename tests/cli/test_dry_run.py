"""`run --dry-run`: what a study costs here, by a real measurement of a few seconds."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.cost import Cost
from engine.entries import read_entries
from engine.work.models import build_model
from oracle_tui.cli import costing

STUDY = ("--model", "resnet20@8", "--ratio", "0.5", "--candidates", "7", "--repeats", "2",
         "--device", "cpu")  # fmt: skip


def test_the_cost_is_measured_and_no_run_is_made(oracle_tui, own_folders):
    answer = oracle_tui("run", *STUDY, "--dry-run", "--json")
    assert (answer.code, answer.err) == (0, "")
    cost = answer.json
    assert not (own_folders / "runs").exists()
    assert (cost["candidates"], cost["retrainings"], cost["device"]) == (7, 14, "cpu")
    assert cost["fits"]
    assert cost["estimate_seconds"] > 0
    # Counted independently: torch's own flops, and the parameters of networks that are built.
    spec = read_entries({"model": "resnet20@8", "ratio": "0.5", "candidates": "7"})
    for when, kept in (("before", {}), ("after", spec.kept)):
        network = build_model(spec.model_info, 10, kept).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(1, 3, 8, 8))
        assert cost["flops"][when] == counter.get_total_flops()
        assert cost["parameters"][when] == sum(p.numel() for p in network.parameters())
    memory = cost["memory"]
    assert memory["candidate"]["gradients"] == 4 * cost["parameters"]["after"]
    assert memory["data"] == 5_000 * 8 * 8 * 4
    assert 0 < memory["one_candidate"] < memory["free"]
    assert memory["largest_pack"] > 1
    # A longer study of the same kind is estimated by what was measured.
    assert oracle_tui("presets", "quick", "--json").code == 0


def test_what_does_not_fit_is_said(oracle_tui, monkeypatch):
    part = {"weights": 1, "gradients": 1, "optimiser": 2, "activations": 3 * 10**12}
    memory = {"data": 1, "base": part, "candidate": part, "one_candidate": 3 * 10**12,
              "largest_pack": 0, "free": 10**9}  # fmt: skip
    cost = Cost((4, 2), (2, 1), 7, 14, "cpu", None, memory, "It needs 3000.0 GB of memory.")
    monkeypatch.setattr(costing, "measured_cost", lambda spec, device: cost)
    answer = oracle_tui("run", *STUDY, "--dry-run")
    assert answer.code == 2
    assert "3000.0 GB" in answer.err
    assert "does not fit" in answer.out
    assert "3,000.00 GB for one candidate" in answer.out


def test_small_sizes_are_not_rounded_to_nothing():
    sizes = [costing._size(count) for count in (22_000, 2_200_000, 2_200_000_000)]
    assert sizes == ["22.0 kB", "2.2 MB", "2.20 GB"]
