"""Dialogues as tokens, and losses over the answers' tokens, against transformers' own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.catalog import find_dataset, find_model
from engine.errors import UsageError
from engine.tuning import Tuning
from engine.work.mllm.dialogues import Dialogue, Split
from engine.work.mllm.fashion import GreyImages, ask, questions_file
from engine.work.mllm.loading import prepared
from engine.work.mllm.network import Answerer, measure
from engine.work.mllm.pack import DialoguePack, evaluate_dialogues
from engine.work.mllm.samples import DialogueData
from engine.work.mllm.sources import Source, source_of
from engine.work.models import build_model, slice_plan
from engine.work.surgery import stack_states
from tests.vision_language import (
    IMAGE,
    WORDS,
    config_of,
    idefics3_processor,
    needs_peft,
    network_of_kind,
    transformers,
)

torch.set_num_threads(1)

TINY = find_model("tiny-llava")
LABELS = np.arange(40, dtype=np.int64) % 10
TURNS = (("what is this ?", "ankle boot"), ("is it footwear ?", "yes"))


def tiny_data(count: int = 24, scored: int = 0) -> DialogueData:
    images = GreyImages(np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8))
    train, test = (Split(images, list(ask(LABELS, name))[:count]) for name in ("train", "test"))
    return prepared(source_of(TINY), find_dataset("fashion-qa"), train, test, scored)


def answers_of(data: DialogueData, split: str, place: int) -> list[str]:
    _, answers = data.taken(split, torch.tensor([place]))
    return source_of(TINY).processor.tokenizer.decode(answers).split()


def test_questions_are_the_same_every_time_and_answers_are_right():
    first, again = (list(ask(LABELS, "train")) for _ in range(2))
    assert first == again
    assert first != list(ask(LABELS, "test"))
    items = questions_file()["items"]
    footwear = {"sandal", "sneaker", "ankle boot"}
    for dialogue in first:
        item = items[LABELS[dialogue.image]]
        ((question, answer),) = dialogue.turns
        if question == "what is this ?":
            assert answer == item
        if question == "is it footwear ?":
            assert (answer == "yes") == (item in footwear)
        if question.startswith("is this a "):
            assert (answer == "yes") == (question == f"is this a {item} ?")


def test_only_answers_are_asked_for():
    data = tiny_data()
    for place, dialogue in enumerate(list(ask(LABELS, "train"))[:24]):
        assert answers_of(data, "train", place) == [*dialogue.turns[0][1].split(), "</s>"]


def test_every_turn_of_a_dialogue_is_answered():
    images = GreyImages(np.zeros((2, 28, 28), np.uint8))
    split = Split(images, [Dialogue(1, TURNS), Dialogue(0, TURNS[:1])])
    data = prepared(source_of(TINY), find_dataset("fashion-qa"), split, split)
    assert answers_of(data, "train", 0) == ["ankle", "boot", "</s>", "yes", "</s>"]
    assert data.train.places.tolist() == [1, 0]
    assert data.train.lengths[0] > data.train.lengths[1]


def test_losses_and_gradients_are_those_of_transformers():
    data = tiny_data(6)
    torch.manual_seed(0)
    library = transformers()
    whole = library.AutoModelForImageTextToText.from_config(source_of(TINY).config)
    network = Answerer(whole)
    questions, answers = data.taken("train", torch.arange(6))
    following = torch.roll(questions.tokens, -1, 1)
    labels = torch.roll(torch.where(questions.asked, following, -100), 1, 1)
    theirs = whole(input_ids=questions.tokens, pixel_values=questions.pixels, labels=labels).loss
    ours = torch.nn.functional.cross_entropy(network(questions), answers)
    torch.testing.assert_close(ours, theirs)
    # Batches of another size, padded to another length, measure the same.
    loss, right = evaluate_dialogues(network, data, "train", 2)
    assert loss == pytest.approx(theirs.item(), rel=1e-5)
    assert right == 0


def test_exact_is_what_greedy_decoding_answers():
    data = tiny_data()
    torch.manual_seed(1)
    library = transformers()
    whole = library.AutoModelForImageTextToText.from_config(source_of(TINY).config)
    network = Answerer(whole)
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    questions, answers = data.taken("train", torch.arange(24))
    for _ in range(12):
        loss = torch.nn.functional.cross_entropy(network(questions), answers)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    whole.eval()
    found = []
    with torch.no_grad():
        for place in range(24):
            one, right = data.taken("train", torch.tensor([place]))
            begin = int(one.asked[0].nonzero()[0]) + 1
            given = whole.generate(
                input_ids=one.tokens[:, :begin], pixel_values=one.pixels, do_sample=False,
                max_new_tokens=len(right),
                attention_mask=torch.ones(1, begin, dtype=torch.int64),
            )  # fmt: skip
            found.append(given[0, begin:].tolist() == right.tolist())
        logits = network.eval()(questions)
    assert 0 < sum(found) < 24
    _, exact = measure(logits, answers, questions.asked)
    assert int(exact) == sum(found)


def test_scores_are_measured_on_the_subset_that_the_spec_names():
    data, whole = tiny_data(scored=5), tiny_data()
    assert len(data.measured("train")) == 5
    assert len(data.measured("test")) == 24
    network = build_model(TINY, 10).eval()
    loss, _ = evaluate_dialogues(network, data, "train", 256)
    questions, answers = whole.taken("train", data.scored)
    with torch.no_grad():
        expected, _ = measure(network(questions), answers, questions.asked)
    assert loss == pytest.approx(float(expected) / len(answers), rel=1e-6)


def test_a_dialogue_that_is_too_long_is_refused():
    images = GreyImages(np.zeros((1, 28, 28), np.uint8))
    split = Split(images, [Dialogue(0, (("what is this ?", "ankle boot " * 40),))])
    with pytest.raises(UsageError, match=r"Dialogue 1 has \d+ tokens .* takes 64"):
        prepared(source_of(TINY), find_dataset("fashion-qa"), split, split)


@pytest.mark.parametrize("kind", ["idefics3", "smolvlm"])
def test_images_are_not_split(kind):
    images = GreyImages(np.random.default_rng(0).integers(0, 256, (3, 40, 40), dtype=np.uint8))
    split = Split(images, [Dialogue(2, TURNS), Dialogue(0, TURNS[:1])])
    source = Source(config_of(kind), idefics3_processor())
    data = prepared(source, find_dataset("fashion-qa"), split, split)
    assert data.train_images.shape == (3, 1, 3, 28, 28)
    assert (data.train.tokens == IMAGE).sum(1).tolist() == [4, 4]
    decode = source.processor.tokenizer.decode
    _, answers = data.taken("train", torch.tensor([0]))
    end = " <end_of_utterance> "
    assert decode(answers) + " " == f"ankle boot{end}yes{end}"
    loss, _ = evaluate_dialogues(network_of_kind(kind), data, "test", 16)
    assert loss == pytest.approx(np.log(WORDS), abs=0.5)


def pack_of(data: DialogueData, **told) -> DialoguePack:
    torch.manual_seed(0)
    state = build_model(TINY, 10).state_dict()
    kept = [{"model.language_model.layers.0.mlp": list(range(0, 192, 2))}]
    states = stack_states(state, slice_plan(TINY, 10), kept)
    return DialoguePack(TINY, states, data, TINY.retrain, tuning=Tuning(**told))


ORDER = np.arange(24, dtype=np.int64)


def test_checkpointing_changes_no_gradient():
    data = tiny_data()
    plain, again = pack_of(data), pack_of(data, checkpointing=True)
    for pack in (plain, again):
        pack.train(ORDER, 1e-3)
    one, other = plain.state(), again.state()
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, rtol=1e-4, atol=1e-6)


@needs_peft
def test_lora_trains_only_its_updates_of_the_language_model():
    data = tiny_data()
    pack = pack_of(data, lora=2)
    before = pack.state()
    assert pack.evaluate("test").loss == pytest.approx(pack_of(data).evaluate("test").loss)
    pack.train(ORDER, 1e-2)
    after = pack.state()
    changed = {
        name for name in before if "@" not in name and not name.startswith("momentum.")
        and not torch.equal(before[name], after[name])
    }  # fmt: skip
    assert changed
    assert all(".lora_" in name and ".language_model.layers." in name for name in changed)
    # Seven linear layers in each of two blocks.
    assert sum(name.endswith("lora_B.default.weight") for name in changed) == 14


@pytest.mark.parametrize("told", [{}, pytest.param({"lora": 2}, marks=needs_peft)])
def test_a_pack_goes_on_from_its_state_to_the_bit(told):
    data = tiny_data()
    whole = pack_of(data, **told)
    whole.train(ORDER, 1e-3)
    saved = whole.state()
    whole.train(ORDER[::-1].copy(), 1e-3)
    resumed = pack_of(data, **told)
    resumed.load_state(saved)
    resumed.train(ORDER[::-1].copy(), 1e-3)
    expected = whole.state()
    assert saved.keys() == expected.keys()
    for name, tensor in resumed.state().items():
        assert torch.equal(tensor, expected[name]), name
