"""The base network: the protocol's training, repeatable, kept in a cache that nobody trusts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from engine.catalog import find_dataset
from engine.errors import RunFailure
from engine.folders import cache_folder
from engine.presets import QUICK
from engine.recipe import Recipe
from engine.spec import StudySpec
from engine.work.batches import pretrain_order
from engine.work.datasets import ImageData, load_dataset
from engine.work.models import build_model
from engine.work.pretraining import BaseNetwork, base_key, base_network, initial_state

torch.set_num_threads(1)

SPEC = QUICK.spec.with_(pretrain=Recipe(epochs=4, learning_rate=0.1, drops=((3, 0.01),)))


@pytest.fixture(scope="module")
def data() -> ImageData:
    whole = load_dataset(find_dataset("mnist-5k"), download=False)
    return replace(
        whole,
        train_images=whole.train_images[:1_500],
        train_labels=whole.train_labels[:1_500],
        test_images=whole.test_images[:400],
        test_labels=whole.test_labels[:400],
    )


def _cached_file() -> Path:
    (file,) = (cache_folder() / "base").iterdir()
    return file


def _same(one: BaseNetwork, other: BaseNetwork) -> bool:
    return all(torch.equal(tensor, other.state[name]) for name, tensor in one.state.items())


def _plain(spec: StudySpec, data: ImageData) -> tuple[list[float], list[dict[str, torch.Tensor]]]:
    """Test accuracy and state after each epoch, by torch's own parts alone."""
    network = build_model(spec.model_info, 10)
    network.load_state_dict(initial_state(spec, 10))
    optimiser = torch.optim.SGD(network.parameters(), lr=1, momentum=0.9, weight_decay=1e-4)
    accuracies, states = [], []
    for epoch in range(spec.pretrain.epochs):
        for group in optimiser.param_groups:
            group["lr"] = spec.pretrain.rate_at(epoch)
        order = torch.from_numpy(pretrain_order(spec.seed, epoch, len(data.train_labels)))
        for batch in order.split(256):
            optimiser.zero_grad()
            logits = network(data.train_images[batch])
            nn.functional.cross_entropy(logits, data.train_labels[batch]).backward()
            optimiser.step()
        with torch.no_grad():
            right = network(data.test_images).argmax(1) == data.test_labels
        accuracies.append(right.double().mean().item())
        states.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
    return accuracies, states


def test_the_best_epoch_by_test_accuracy_is_kept(data: ImageData) -> None:
    found = base_network(SPEC, data)
    accuracies, states = _plain(SPEC, data)
    best = accuracies.index(max(accuracies))
    assert found.best_epoch == best
    assert found.test_acc == pytest.approx(accuracies[best], abs=1e-12)
    for name, tensor in found.state.items():
        # 24 steps at a high rate, in another order of summation.
        torch.testing.assert_close(tensor, states[best][name], rtol=0, atol=5e-4)
    network = build_model(SPEC.model_info, 10)
    network.load_state_dict(found.state)
    with torch.no_grad():
        for split, loss in (("train", found.train_loss), ("test", found.test_loss)):
            images, labels = data.split(split)
            logits = network(images).double()
            assert loss == pytest.approx(
                nn.functional.cross_entropy(logits, labels).item(), abs=1e-5
            )


def test_the_first_of_equally_good_epochs_is_kept(data: ImageData) -> None:
    # A rate this small changes no prediction: every epoch is as good as the first.
    still = SPEC.with_(pretrain=Recipe(epochs=3, learning_rate=1e-12))
    assert base_network(still, data).best_epoch == 0


def test_training_again_gives_the_same_network(data: ImageData) -> None:
    first = base_network(SPEC, data)
    _cached_file().unlink()
    torch.manual_seed(99)
    again = base_network(SPEC, data, threads=2)
    assert not again.cached
    assert _same(first, again)


def test_initial_weights_follow_from_the_seed_and_disturb_no_other_randomness() -> None:
    torch.manual_seed(4)
    before = torch.random.get_rng_state()
    first, again = initial_state(SPEC, 10), initial_state(SPEC, 10)
    other = initial_state(SPEC.with_(seed=1), 10)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first["conv1.weight"], again["conv1.weight"])
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_the_second_study_finds_it_in_the_cache(data: ImageData) -> None:
    first = base_network(SPEC, data)
    epochs: list[int] = []
    # What is pruned and how it is retrained does not change the base network.
    again = base_network(SPEC.with_(ratios=(0.5,), repeats=3), data, progress=epochs.append)
    assert again.cached
    assert epochs == []
    assert _same(first, again)
    assert (first.test_acc, first.test_loss, first.train_loss, first.best_epoch, first.key) == (
        again.test_acc,
        again.test_loss,
        again.train_loss,
        again.best_epoch,
        again.key,
    )
    assert _cached_file().stat().st_mode & 0o077 == 0


def test_the_key_follows_all_that_determines_it(data: ImageData) -> None:
    keys = {
        base_key(SPEC, data),
        base_key(SPEC.with_(seed=1), data),
        base_key(SPEC.with_(model="lenet5-mini-w20"), data),
        base_key(SPEC.with_(pretrain=replace(SPEC.pretrain, weight_decay=0.0)), data),
        base_key(SPEC, replace(data, digest="other")),
    }
    assert len(keys) == 5
    assert base_key(SPEC.with_(ratios=(0.5,), wiring="released"), data) in keys


def _truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def _emptied(file: Path) -> None:
    file.write_bytes(b"")


def _filled_with_code(file: Path) -> None:
    torch.save({"state": print}, file)


def _of_another_model(file: Path) -> None:
    content = torch.load(file, weights_only=True)
    content["state"]["conv1.weight"] = torch.zeros(20, 1, 5, 5)
    torch.save(content, file)


def _not_finite(file: Path) -> None:
    content = torch.load(file, weights_only=True)
    content["state"]["fc1.bias"][0] = float("nan")
    torch.save(content, file)


def _without_facts(file: Path) -> None:
    content = torch.load(file, weights_only=True)
    del content["test_acc"]
    torch.save(content, file)


@pytest.mark.parametrize(
    "damage",
    [_truncated, _emptied, _filled_with_code, _of_another_model, _not_finite, _without_facts],
)
def test_a_damaged_cache_is_trained_again_with_a_note(damage: object, data: ImageData) -> None:
    short = SPEC.with_(pretrain=Recipe(epochs=1, learning_rate=0.05))
    first = base_network(short, data)
    damage(_cached_file())  # type: ignore[operator]
    notes: list[str] = []
    again = base_network(short, data, note=notes.append)
    assert not again.cached
    assert _same(first, again)
    assert len(notes) == 1
    assert "damaged" in notes[0]
    assert base_network(short, data).cached


def test_a_cache_that_cannot_be_written_costs_only_a_note(
    data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("ORACLE_TUI_CACHE", str(tmp_path / "file"))
    notes: list[str] = []
    short = SPEC.with_(pretrain=Recipe(epochs=1, learning_rate=0.05))
    assert not base_network(short, data, note=notes.append).cached
    assert len(notes) == 1


def test_breaking_off_leaves_nothing_in_the_cache(data: ImageData) -> None:
    class Enough(Exception):
        pass

    def stop() -> None:
        raise Enough

    with pytest.raises(Enough):
        base_network(SPEC, data, checkpoint=stop)
    assert not (cache_folder() / "base").exists()


def test_progress_counts_epochs(data: ImageData) -> None:
    epochs: list[int] = []
    base_network(SPEC, data, progress=epochs.append)
    assert epochs == [1, 2, 3, 4]


def test_divergence_is_said_in_a_sentence(data: ImageData) -> None:
    wild = SPEC.with_(pretrain=Recipe(epochs=2, learning_rate=1e30))
    with pytest.raises(RunFailure, match="lower learning rate"):
        base_network(wild, data)
    assert not (cache_folder() / "base").exists()
