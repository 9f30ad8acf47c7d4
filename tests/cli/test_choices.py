"""`models`, `datasets`, `presets`, `--version` and `--help`."""

import pytest

from engine import __version__
from engine.catalog import DATASETS, MODELS
from engine.data_sources.places import ARCHIVE_NAMES, IDX_NAMES, cache_of
from engine.presets import PRESETS, QUICK, WAITING
from engine.spec import StudySpec
from tests.image_folders import imagenet_like


def test_models_json_names_layers_and_filters(oracle_tui):
    answer = oracle_tui("models", "--json")
    assert answer.code == 0
    assert [model["name"] for model in answer.json] == list(MODELS)
    mini = answer.json[0]
    assert mini["layers"] == [
        {"name": f"conv{i}", "filters": 10, "kind": "filters", "pruned_with": []} for i in (1, 2, 3)
    ]
    assert (mini["family"], mini["parameters"], mini["flops"]) == ("lenet", 5_500, 897_400)
    assert mini["retrain"]["epochs"] == 30


def test_every_model_says_what_it_is(oracle_tui):
    for model in oracle_tui("models", "--json").json:
        assert model["family"]
        assert min(model["channels"], model["size"], model["parameters"]) > 0
        assert model["flops"] == 2 * model["multiply_adds"] > 0
        assert model["layers"]
        assert all(layer["filters"] > 1 for layer in model["layers"])
        assert set(model["default_recipe"]) == {"pretrain", "retrain"}
        assert model["pretrain"]["epochs"] > 0


def test_datasets_json_counts_images(oracle_tui):
    answer = oracle_tui("datasets", "--json")
    assert [data["name"] for data in answer.json] == list(DATASETS)
    assert answer.json[0]["train_images"] == 4_000
    assert answer.json[0]["test_images"] == 1_000


def test_datasets_json_says_where_they_are_looked_for(oracle_tui, monkeypatch, tmp_path):
    found = {data["name"]: data for data in oracle_tui("datasets", "--json").json}
    digits, cifar, imagenet = (found[name] for name in ("mnist-5k", "cifar10", "imagenet"))
    assert digits["here"]
    assert digits["found_at"] == digits["looked_for"][0]
    assert (digits["size"], digits["augmentation"]) == (28, "none")
    assert (cifar["here"], cifar["found_at"]) == (False, None)
    assert cifar["looked_for"][0].endswith("cache/datasets/cifar10")
    assert (imagenet["classes"], imagenet["size"], imagenet["here"]) == (1_000, None, False)
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
    monkeypatch.setenv("ORACLE_TUI_IMAGENET", str(tmp_path))
    found = {data["name"]: data for data in oracle_tui("datasets", "--json").json}
    assert found["imagenet"]["found_at"] == str(tmp_path)
    for name in ("mnist", "kmnist", "fashion-mnist", "cifar100"):
        folder = cache_of(name)
        folder.mkdir(parents=True)
        for file in [ARCHIVE_NAMES[name]] if name in ARCHIVE_NAMES else IDX_NAMES:
            (folder / file).touch()
    found = {data["name"]: data for data in oracle_tui("datasets", "--json").json}
    assert all(found[name]["here"] for name in ("mnist", "kmnist", "fashion-mnist", "cifar100"))


def test_datasets_of_ones_own(oracle_tui, tmp_path):
    root = imagenet_like(tmp_path, train=2, test=1)
    (data,) = oracle_tui("datasets", f"folder:{root}", "--json").json
    assert (data["classes"], data["train_images"], data["here"]) == (3, 6, True)
    answer = oracle_tui("datasets", "folder:/nothing")
    assert (answer.code, answer.out) == (2, "")
    assert "/nothing is not there" in answer.err


def test_presets_json_holds_specs_that_read_back(oracle_tui):
    found = {preset["name"]: preset for preset in oracle_tui("presets", "--json").json}
    assert list(found) == [*PRESETS, *WAITING]
    for name, preset in PRESETS.items():
        assert tuple(map(StudySpec.from_json, found[name]["specs"])) == preset.specs
        assert found[name]["n_total"] == sum(spec.rows for spec in preset.specs)
        assert found[name]["estimate_seconds"] > 0
        assert found[name]["estimate_measured"] is False
    assert found["quick"]["spec"] == QUICK.spec.to_json()
    assert found["paper/conv1"]["spec"] is None
    waiting = found["paper/vit-b16-imagenet-all-0.5"]
    assert waiting["waits_for"].startswith("the number of draws")


def test_presets_of_one_kind(oracle_tui):
    names = [preset["name"] for preset in oracle_tui("presets", "complexity", "--json").json]
    assert names == [
        f"complexity/{of}" for of in ("datasets", "widths", "depths", "ratios", "layers")
    ]
    answer = oracle_tui("presets", "qick")
    assert (answer.code, answer.out) == (2, "")
    assert "did you mean quick?" in answer.err


@pytest.mark.parametrize(
    ("command", "names"),
    [("models", MODELS), ("datasets", DATASETS), ("presets", [*PRESETS, *WAITING])],
)
def test_text_lists_every_name_once_and_nothing_on_stderr(oracle_tui, command, names):
    answer = oracle_tui(command)
    assert answer.code == 0
    assert answer.err == ""
    header, *lines = answer.out.splitlines()
    assert header.startswith("NAME")
    assert [line.split()[0] for line in lines] == list(names)


def test_version(oracle_tui):
    answer = oracle_tui("--version")
    assert (answer.code, answer.err) == (0, "")
    assert __version__ in answer.out


def test_help_names_every_command(oracle_tui):
    answer = oracle_tui("--help")
    assert answer.code == 0
    listed = [line.split()[0] for line in answer.out.splitlines() if line]
    names = {"demo", "run", "runs", "show", "export", "pause", "resume", "stop"}
    assert {*names, "models", "datasets", "presets"} <= set(listed)
