"""Models and dialogues from strangers: folders in the hub's layout, files as LLaVA's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.catalog import find_model
from engine.data_sources.describe import describe_data
from engine.described import is_outside_catalog, split_hub
from engine.entries import entries_of, read_entries
from engine.errors import UsageError
from engine.presets import find_preset
from engine.recipe import Recipe
from engine.spec import StudySpec
from engine.study_rules import SpecError
from engine.tuning import FULL, Tuning, read_tuning
from engine.work.describe import describe_model
from engine.work.mllm import availability
from engine.work.mllm.files import file_splits
from engine.work.mllm.memory import Shape, training_bytes
from engine.work.mllm.room import require_room
from engine.work.mllm.sources import hub_source, source_of
from engine.work.models import build_model, family_of
from tests.vision_language import network_of_kind, save_tiny

torch.set_num_threads(1)

GOOD = [
    {"image": f"{place}.png", "conversations": [
        {"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A bag."},
    ]}
    for place in range(3)
]  # fmt: skip


def written(folder: Path, content: object) -> Path:
    for place in range(3):
        Image.new("L", (9, 9), place).save(folder / f"{place}.png")
    path = folder / "own.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def changed(**told: object) -> list[dict]:
    return [{**GOOD[0], **told}, *GOOD[1:]]


def test_a_file_gives_train_and_test_dialogues_about_other_images(tmp_path):
    info = describe_data(f"llava:{written(tmp_path, GOOD)}")
    assert (info.train_images, info.test_images, info.asks) == (2, 1, True)
    train, test = file_splits(info)
    assert train.dialogues[0].turns == (("What is it?", "A bag."),)
    assert [path.name for path in train.images.paths] == ["0.png", "1.png"]
    assert [path.name for path in test.images.paths] == ["2.png"]
    assert train.images[1].shape == (9, 9, 3)
    assert np.all(train.images[1] == 1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ({}, "must hold a list"),
        ([], "must hold a list of 1 to"),
        ([1, *GOOD], "Dialogue 1 of .* is no object"),
        (changed(image="../etc/passwd"), "outside the folder"),
        (changed(image="/etc/passwd"), "outside the folder"),
        (changed(image=["a.png", "b.png"]), "must name one image"),
        (changed(conversations=[]), "1 to 100 questions"),
        (changed(conversations=GOOD[0]["conversations"][::-1]), "must alternate"),
        (changed(conversations=[{"from": "human", "value": 3}] * 2), "must alternate"),
        (
            changed(conversations=[GOOD[0]["conversations"][0], {"from": "gpt", "value": ""}]),
            "is empty",
        ),
        (GOOD[:1], "about 1 images; at least 2"),
        (changed(image="none.png"), "none.png is missing; write the folder"),
    ],
)
def test_what_is_no_file_of_dialogues_is_refused_in_one_sentence(tmp_path, content, says):
    with pytest.raises(UsageError, match=says) as raised:
        describe_data(f"llava:{written(tmp_path, content)}")
    assert "\n" not in str(raised.value)


def test_a_broken_image_is_named(tmp_path):
    info = describe_data(f"llava:{written(tmp_path, GOOD)}")
    (tmp_path / "1.png").write_bytes(b"\x89PNG broken")
    train, _ = file_splits(info)
    with pytest.raises(UsageError, match=r"1\.png cannot be read"):
        train.images[1]


def test_a_changed_file_is_another_data_set(tmp_path):
    path = written(tmp_path, GOOD)
    info = describe_data(f"llava:{path}")
    path.write_text(json.dumps(GOOD + GOOD))
    with pytest.raises(UsageError, match="has changed since this study was made"):
        file_splits(info)


def test_a_folder_in_the_hubs_layout_loads_by_its_path(tmp_path):
    folder = save_tiny(tmp_path / "model")
    info = describe_model(f"hf:{folder}")
    tiny = find_model("tiny-llava")
    assert [(layer.name, layer.filters, layer.kind) for layer in info.layers] == [
        (layer.name, layer.filters, layer.kind) for layer in tiny.layers
    ]
    assert info.count({}) == tiny.count({})
    assert info.size == 28
    weights = family_of(info).weights(info)
    assert weights is not None
    torch.manual_seed(0)
    expected = build_model(tiny, 10).state_dict()
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(weights[name], tensor), name
    assert (
        source_of(info).processor.tokenizer("ankle boot")["input_ids"]
        == (source_of(tiny).processor.tokenizer("ankle boot")["input_ids"])
    )
    # Other weights are another model.
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    with pytest.raises(UsageError, match="has changed since this study was made"):
        build_model(info, 10)


def test_names_of_models_in_the_hubs_layout(tmp_path):
    assert split_hub(f"hf:{tmp_path}") == (str(tmp_path), False)
    assert split_hub("hf+code:owner/name") == ("owner/name", True)
    assert split_hub("timm:name") is None
    assert is_outside_catalog("HF:owner/name")


def test_weights_that_lack_a_part_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = save_tiny(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "down_proj" in name)
    del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match=r"lack or misfit .*down_proj"):
        hub_source(f"hf:{folder}").weights()


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda folder: None, "it has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be loaded"),
        (
            lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'),
            "Models of the type 'bert' are not known here",
        ),
        (
            lambda folder: (folder / "config.json").write_text(
                '{"model_type": "odd", "auto_map": {"AutoConfig": "code.Odd"}}'
            ),
            r"comes with code of its own; write hf\+code:",
        ),
    ],
)
def test_what_is_no_models_folder_is_refused_in_one_sentence(tmp_path, prepare, says):
    prepare(tmp_path)
    (tmp_path / "code.py").write_text("raise SystemExit('code of a stranger was run')")
    with pytest.raises(UsageError, match=says) as raised:
        describe_model(f"hf:{tmp_path}")
    assert "\n" not in str(raised.value)


def test_a_hubs_name_without_a_network_is_one_sentence(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="hub") as raised:
        describe_model("hf:nobody/no-such-model")
    assert "\n" not in str(raised.value)


def test_without_the_library_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(availability.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'oracle-tui\[mllm\]'"):
        availability.transformers()


def test_tuning_reads_back_what_it_says():
    for text in ("", "lora=8", "lora=4,alpha=32,checkpointing,scored=500"):
        assert str(read_tuning(text)) == text
        assert Tuning.from_json(read_tuning(text).to_json()) == read_tuning(text)
    assert read_tuning("full") == FULL
    for wrong in ("lora", "lora=x", "rank=2", "lora=2,lora=3", "checkpointing=yes", "lora=-1"):
        with pytest.raises(UsageError):
            read_tuning(wrong)


def test_a_spec_keeps_its_tuning_and_others_keep_their_names():
    plain = read_entries({"model": "tiny-llava", "candidates": "2"})
    tuned = read_entries({"model": "tiny-llava", "candidates": "2", "tuning": "lora=8"})
    assert plain.dataset == "fashion-qa"
    assert StudySpec.from_json(tuned.to_json()) == tuned
    assert "tuning" not in plain.to_json()
    assert plain.hash != tuned.hash


@pytest.mark.parametrize(
    ("entries", "field"),
    [
        ({"model": "tiny-llava", "dataset": "mnist-5k"}, "dataset"),
        ({"model": "lenet5-mini", "dataset": "fashion-qa"}, "dataset"),
        ({"model": "lenet5-mini", "tuning": "lora=8"}, "tuning"),
        ({"model": "tiny-llava", "tuning": "scored=7000"}, "tuning"),
        ({"model": "tiny-llava", "candidates": "2", "scores": "taylor"}, "scores"),
    ],
)
def test_what_does_not_go_together_is_refused(entries, field):
    with pytest.raises(SpecError) as raised:
        read_entries(entries)
    assert raised.value.field == field


def test_memory_is_sixteen_bytes_a_parameter_with_adamw():
    adamw = Recipe(1, 1e-4, batch_size=1, optimiser="adamw")
    few = Shape(1_000_000, 1_000_000, 10, 8, 2, 100, 3)
    assert training_bytes(few, adamw, FULL) == pytest.approx(16e6, rel=0.01)
    assert training_bytes(few, Recipe(1, 0.1, batch_size=1), FULL) == pytest.approx(12e6, rel=0.01)
    lora = Shape(1_010_000, 10_000, 10, 8, 2, 100, 3)
    assert training_bytes(lora, adamw, FULL) == pytest.approx(4.16e6, rel=0.01)
    long = Shape(1_000, 1_000, 4_000, 512, 24, 100, 3)
    saved = training_bytes(long, adamw, Tuning(checkpointing=True))
    assert saved < training_bytes(long, adamw, FULL) / 5
    with pytest.raises(UsageError, match=r"needs about 1000000\.0 GB and .* are free"):
        require_room("It", 10**15)


def test_the_preset_reads_back_from_what_a_person_would_type():
    spec = find_preset("mllm/tiny-llava").spec
    assert read_entries(entries_of(spec)) == spec
    assert spec.rows == 64


def test_real_classes_are_used():
    names = {kind: type(network_of_kind(kind).model).__name__ for kind in ("llava", "smolvlm")}
    assert names == {"llava": "LlavaModel", "smolvlm": "SmolVLMModel"}
