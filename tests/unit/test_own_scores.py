"""A researcher's own scores: the documented example, and what is said about mistakes in one."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.control import create_run
from engine.entries import read_entries
from engine.errors import RunFailure, UsageError
from engine.orders import judge_order
from engine.own_scores import CriterionFile, installed_scores, read_criterion
from engine.presets import QUICK
from engine.scores import BASE_SCORES
from engine.store.reader import RunReader
from engine.work.bench import Bench
from engine.work.criteria import Scorer
from engine.work.datasets import ImageData, load_dataset
from engine.work.models import build_model, slice_plan
from engine.work.pretraining import BaseNetwork

torch.set_num_threads(1)

NOTHING = "def score(subject, candidates):\n    return []\n"
DOCUMENT = Path(__file__).parents[2] / "docs" / "how-to" / "own-score.md"


def example() -> str:
    """The first block of Python in the document."""
    found = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def quick_bench() -> Bench:
    spec = QUICK.spec
    whole = load_dataset(spec.dataset_info, download=False)
    data = ImageData(
        *(part[:200] for part in (whole.train_images, whole.train_labels)),
        *(part[:100] for part in (whole.test_images, whole.test_labels)),
        whole.classes,
        "part",
    )
    torch.manual_seed(3)
    state = dict(build_model(spec.model_info, 10).state_dict())
    base = BaseNetwork(state, 0.1, 2.3, 0.1, 2.3, 0, "random", cached=False)
    return Bench(spec, torch.device("cpu"), 1, data, base, slice_plan(spec.model_info, 10))


def scorer_for(bench: Bench, file: CriterionFile) -> Scorer:
    spec = bench.spec.with_(scores=(*BASE_SCORES, file.score))
    return Scorer(replace(bench, spec=spec), {file.name: file.to_json()})


def written(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_documented_example_gives_what_it_says(quick_bench: Bench, tmp_path: Path) -> None:
    file = read_criterion(written(tmp_path, example(), "largest_weight.py"))
    assert (file.name, file.title, file.low_is_good) == ("largest_weight", "Largest weight", True)
    assert len(example().split("\n\n\n")[-1].strip().splitlines()) <= 10
    candidates = [quick_bench.spec.space[c] for c in range(45)]
    scorer = scorer_for(quick_bench, file)
    found = scorer.measure(candidates, lambda done: None)["largest_weight"]
    weight = quick_bench.base.state["conv1.weight"].double().numpy()
    largest = np.abs(weight).reshape(10, -1).max(1)
    np.testing.assert_allclose(found, [largest[list(gone)].sum() for (gone,) in candidates])
    assert scorer.seconds["largest_weight"] >= 0


def test_a_criterion_can_look_at_the_pruned_network(quick_bench: Bench, tmp_path: Path) -> None:
    text = (
        "import torch\n"
        "def score(subject, candidates):\n"
        "    images, labels = subject.train_images, subject.train_labels\n"
        "    loss = torch.nn.CrossEntropyLoss()\n"
        "    with torch.no_grad():\n"
        "        return [loss(subject.pruned_network(c)(images), labels).item()"
        " for c in candidates]\n"
    )
    file = read_criterion(written(tmp_path, text))
    candidates = [quick_bench.spec.space[c] for c in (3, 30)]
    found = scorer_for(quick_bench, file).measure(candidates, lambda done: None)
    np.testing.assert_allclose(found["mine"], found["pruned_train_loss"], rtol=1e-5)


def test_a_run_records_path_digest_and_direction(tmp_path: Path) -> None:
    path = written(
        tmp_path, "low_is_good = False\ndef score(subject, candidates):\n    return []\n"
    )
    file = read_criterion(path)
    spec = read_entries({"scores": file.score}, QUICK, [file.score])
    run = create_run(tmp_path / "runs", spec, "cpu", [file])
    config = RunReader(run).config
    assert config["score_names"] == [*BASE_SCORES, "mine"]
    assert config["criteria"] == {
        "mine": {
            "path": str(path),
            "digest": file.digest,
            "title": "mine",
            "low_is_good": False,
        }
    }
    path.write_text(path.read_text() + "# another text, another study\n")
    again = read_criterion(path)
    assert read_entries({"scores": again.score}, QUICK, [again.score]).hash != spec.hash
    with pytest.raises(UsageError, match="--criterion"):
        create_run(tmp_path / "runs", spec, "cpu", [again])


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("mine.py", "def score(subject, candidates)\n    return 1\n", "mine.py, line 1: "),
        ("mine.py", "x = 1\nif x:\npass\n", "mine.py, line 3: "),
        ("mine.py", "def other():\n    pass\n", "no function `score(subject, candidates)`"),
        ("mine.py", "\0", "mine.py, line 1: "),
        ("l1.py", "def score(subject, candidates):\n    return []\n", "a score already"),
        ("my-score.py", "def score(subject, candidates):\n    return []\n", "letters, digits"),
        ("mine.py", f"low_is_good = 'no'\n{NOTHING}", "low_is_good is True or False"),
        ("mine.py", f"low_is_good = not True\n{NOTHING}", "low_is_good is True or False"),
        ("mine.py", f"title = 3\n{NOTHING}", "title is a text"),
    ],
)
def test_what_can_be_seen_without_running_it_is_refused_at_once(
    name: str, text: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        read_criterion(written(tmp_path, text, name))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_direction_may_be_written_with_its_type(tmp_path: Path) -> None:
    text = f"title: str = 'Mine'\nlow_is_good: bool\nlow_is_good: bool = False\n{NOTHING}"
    file = read_criterion(written(tmp_path, text))
    assert (file.title, file.low_is_good) == ("Mine", False)


def test_two_files_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first, same = written(tmp_path, NOTHING), written(tmp_path / "other", NOTHING)
    order, problems = judge_order({}, criteria=[str(first), str(same)])
    assert order is not None
    assert [file.path for file in order.criteria] == [first]
    assert problems == {}
    same.write_text(f"x = 1\n{NOTHING}")
    assert judge_order({}, criteria=[str(first), str(same)])[1] == {
        "criterion": f"{first} and {same} would both be the score mine; rename one."
    }


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.py cannot be read"):
        read_criterion(tmp_path / "gone.py")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "def score(s, c):\n    x = 1\n    return [1 / 0 for _ in c]\n",
            "line 3: ZeroDivisionError",
        ),
        ("import no_such_package\ndef score(s, c):\n    pass\n", "line 1: ModuleNotFoundError"),
        ("def score(s, c):\n    return 1.0\n", "one number for each"),
        ("def score(s, c):\n    return ['low'] * len(c)\n", "ValueError"),
        ("def score(s, c):\n    raise SystemExit\n", "line 2: SystemExit"),
        ("def score(s, c):\n    raise OSError('two\\nlines')\n", "two lines"),
        ("def score(s):\n    return []\n", "TypeError"),
    ],
)
def test_what_goes_wrong_in_it_is_one_sentence_with_file_and_line(
    text: str, says: str, quick_bench: Bench, tmp_path: Path
) -> None:
    file = read_criterion(written(tmp_path, text))
    with pytest.raises(RunFailure) as caught:
        scorer_for(quick_bench, file).measure([quick_bench.spec.space[0]], lambda done: None)
    assert says in str(caught.value)
    assert "mine.py" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_changed_since_the_run_was_made_is_not_run(
    quick_bench: Bench, tmp_path: Path
) -> None:
    path = written(tmp_path, "def score(s, c):\n    return [0.0] * len(c)\n")
    file = read_criterion(path)
    path.write_text("raise SystemExit('not to be run')\n")
    with pytest.raises(RunFailure, match="not what it was"):
        scorer_for(quick_bench, file)
    path.unlink()
    with pytest.raises(RunFailure, match="cannot be read"):
        scorer_for(quick_bench, file)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that offers two scores and two that cannot be."""
    (tmp_path / "their_scores.py").write_text(
        f"{example()}\n\n"
        "def by_function(subject, candidates):\n    return [1.0] * len(candidates)\n"
        "by_function.low_is_good = False\nnumber = 3\n"
    )
    metadata = tmp_path / "their_scores-1.5.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: their-scores\nVersion: 1.5\n")
    (metadata / "entry_points.txt").write_text(
        "[oracle_tui.scores]\nlargest_weight = their_scores\nones = their_scores:by_function\n"
        "l1 = their_scores\nno name = their_scores\nbroken = their_scores:number\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("their_scores", None)


def test_scores_of_an_installed_package(package: Path, quick_bench: Bench) -> None:
    assert set(installed_scores()) >= {"largest_weight", "ones", "broken"}
    assert not {"l1", "no name"} & set(installed_scores())
    spec = read_entries({"scores": "ones,largest-weight"}, QUICK, installed_scores())
    assert spec.scores[2:] == ("largest_weight", "ones")
    scorer = Scorer(replace(quick_bench, spec=spec))
    found = scorer.measure([quick_bench.spec.space[0]], lambda done: None)
    assert found["ones"].tolist() == [1.0]
    assert found["largest_weight"][0] > 0
    about = {"package": "their-scores", "version": "1.5"}
    assert scorer.own == {
        "largest_weight": {**about, "title": "Largest weight", "low_is_good": True},
        "ones": {**about, "title": "ones", "low_is_good": False},
    }


@pytest.mark.parametrize(
    ("name", "says"), [("broken", "neither a function"), ("nobodys", "No installed package")]
)
def test_a_packages_score_that_is_not_there_fails_the_run(
    name: str, says: str, package: Path, quick_bench: Bench
) -> None:
    bench = replace(quick_bench, spec=quick_bench.spec.with_(scores=(*BASE_SCORES, name)))
    with pytest.raises(RunFailure, match=says):
        Scorer(bench)
