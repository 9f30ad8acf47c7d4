"""`models`, `datasets`, `presets`, `--version` and `--help`."""

import pytest

from engine import __version__
from engine.catalog import DATASETS, MODELS
from engine.presets import PRESETS
from engine.spec import StudySpec


def test_models_json_names_layers_and_filters(oracle_tui):
    answer = oracle_tui("models", "--json")
    assert answer.code == 0
    assert [model["name"] for model in answer.json] == list(MODELS)
    mini = answer.json[0]
    assert mini["layers"] == [
        {"name": f"conv{i}", "filters": 10, "kind": "filters", "pruned_with": []}
        for i in (1, 2, 3)
    ]
    assert (mini["family"], mini["parameters"], mini["flops"]) == ("lenet", 5_500, 897_400)
    assert mini["retrain"]["epochs"] == 30


def test_datasets_json_counts_images(oracle_tui):
    answer = oracle_tui("datasets", "--json")
    assert [data["name"] for data in answer.json] == list(DATASETS)
    assert answer.json[0]["train_images"] == 4_000
    assert answer.json[0]["test_images"] == 1_000


def test_presets_json_holds_specs_that_read_back(oracle_tui):
    answer = oracle_tui("presets", "--json")
    for preset in answer.json:
        assert StudySpec.from_json(preset["spec"]) == PRESETS[preset["name"]].spec
        assert preset["n_total"] == PRESETS[preset["name"]].spec.rows


@pytest.mark.parametrize(
    ("command", "names"),
    [("models", MODELS), ("datasets", DATASETS), ("presets", PRESETS)],
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
    listed = [line.split()[0] for line in answer.out.partition("Commands:")[2].splitlines() if line]
    names = {"demo", "run", "runs", "show", "export", "pause", "resume", "stop"}
    assert {*names, "models", "datasets", "presets"} <= set(listed)
