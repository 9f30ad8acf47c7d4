"""The form: every entry is judged by the same sentences as the command line's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Button, Input, Static

from engine.entries import read_entries
from engine.orders import Order, judge_order
from engine.presets import PRESETS
from engine.store.reader import RunReader
from oracle_tui.app import OracleApp
from oracle_tui.screens.new_run import NewRunScreen
from oracle_tui.screens.pick import PickScreen
from oracle_tui.screens.run import RunScreen
from oracle_tui.screens.runs import RunsScreen
from tests.app.waiting import settled, until

MakeApp = Callable[..., OracleApp]


async def form(pilot: Pilot[None]) -> NewRunScreen:
    await settled(pilot)
    await pilot.press("n")
    await until(pilot, lambda: isinstance(pilot.app.screen, NewRunScreen), "the form")
    screen = pilot.app.screen
    assert isinstance(screen, NewRunScreen)
    await until(pilot, lambda: screen.order is not None, "the first judgement")
    await settled(pilot)
    return screen


async def judged(pilot: Pilot[None], screen: NewRunScreen) -> None:
    """Wait until what was typed is judged."""
    await pilot.pause()
    await until(pilot, lambda: screen.judgement is not None, "the judgement")


async def enter(pilot: Pilot[None], screen: NewRunScreen, name: str, value: str) -> None:
    screen.query_one(f"#field-{name} Input", Input).value = value
    await judged(pilot, screen)


def order_of(screen: NewRunScreen) -> Order:
    assert screen.order is not None
    return screen.order


def text(screen: NewRunScreen, selector: str) -> str:
    return str(screen.query_one(selector, Static).content)


def sentence(screen: NewRunScreen, name: str) -> str:
    return text(screen, f"#field-{name} .sentence")


def runs_in(runs_dir: Path) -> list[Path]:
    return sorted(runs_dir.glob("[!.]*"))


async def test_it_begins_with_a_preset_that_can_be_started(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        assert order_of(screen).studies == PRESETS["quick"].specs
        assert "C(10,2) = 45 candidates" in text(screen, "#outlook")
        assert "about" in text(screen, "#outlook")
        assert not screen.query_one("#start", Button).disabled
        # What is not typed shows what it comes to.
        assert screen.field("epochs").value == "6"
        assert "6 ep" in sentence(screen, "epochs")
        assert sentence(screen, "ratio") == "2 of 10 filters go"


WRONG = {
    "layers": "conv9",
    "ratio": "1",
    "candidates": "46",
    "repeats": "none",
    "epochs": "0",
    "seed": "-1",
    "wiring": "wrong",
    "scores": "bn_scale",
    "search": "greedy",
    "precision": "int8",
}


async def test_a_bad_entry_is_told_beside_it_and_nothing_can_start(
    make_app: MakeApp, runs_dir: Path
) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        for name, value in WRONG.items():
            await enter(pilot, screen, name, value)
            wrong = judge_order({"preset": ["quick"], name: [value]})[1][name]
            assert screen.field(name).has_class("-wrong")
            assert sentence(screen, name) == wrong
            assert wrong in text(screen, "#reason")
            assert screen.query_one("#start", Button).disabled
            await pilot.press("ctrl+s")
            await enter(pilot, screen, name, "")
            assert screen.order is not None
        assert runs_in(runs_dir) == []


async def test_what_is_wrong_elsewhere_is_told_too(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        for name, value, said in (
            ("device", "tpu", "auto, cpu, cuda"),
            ("executor", "threads", "inline, processes[:N] or ray[:address]"),
            ("shard", "4/4", "from 0 to n - 1"),
            ("criterion", "nothing.py", "cannot be read"),
            ("model", "missing.py:Net", "cannot be read"),
            ("model", "lenet5-minni", "did you mean lenet5-mini?"),
            ("dataset", "mnist5k", "did you mean mnist-5k?"),
        ):
            await enter(pilot, screen, name, value)
            assert screen.order is None
            assert said in sentence(screen, name)
            await enter(pilot, screen, name, "")


async def test_picking_a_preset_fills_the_form_and_forgets_what_was_typed(
    make_app: MakeApp,
) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        await enter(pilot, screen, "ratio", "0.3")
        await pilot.press("f3")
        await until(pilot, lambda: isinstance(app.screen, PickScreen), "the presets")
        await pilot.pause()
        await pilot.press(*"conv2-0.7", "enter")
        await until(pilot, lambda: app.screen is screen, "the form")
        await judged(pilot, screen)
        (name,) = screen.presets
        assert name == "quick/lenet5-mini-mnist-conv2-0.7"
        assert order_of(screen).studies == PRESETS[name].specs
        assert (screen.field("layers").value, screen.field("ratio").value) == ("conv2", "0.7")


async def test_what_waits_says_for_what_and_cannot_be_picked(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, PickScreen), "the presets")
        await pilot.pause()
        await pilot.press(*"vit-b16-imagenet")
        await pilot.pause()
        assert "waits for" in str(app.screen.query_one("#pick-about", Static).content)
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, PickScreen)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen, "the form")
        assert screen.presets == ("quick",)


async def test_a_preset_of_several_studies_is_changed_in_all_of_them(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        screen.presets = ("quick/conv1",)
        screen.action_reset()
        await judged(pilot, screen)
        assert len(order_of(screen).studies) == 7
        assert screen.field("ratio").value == ""
        await enter(pilot, screen, "seed", "4")
        wanted = tuple(spec.with_(seed=4) for spec in PRESETS["quick/conv1"].specs)
        assert order_of(screen).studies == wanted


async def test_scores_are_picked_from_a_list(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        screen.field("scores").focus_entry()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, PickScreen), "the scores")
        await pilot.pause()
        await pilot.press(*"fpgm", "space", *["backspace"] * 4, *"taylor", "space", "enter")
        await until(pilot, lambda: app.screen is screen, "the form")
        await judged(pilot, screen)
        assert order_of(screen).studies[0].scores[2:] == ("fpgm", "taylor")


async def test_a_score_of_ones_own_is_measured_beside_the_others(
    make_app: MakeApp, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text("def score(subject, candidates):\n    return candidates\n")
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        await enter(pilot, screen, "criterion", str(tmp_path / "mine.py"))
        assert order_of(screen).studies[0].score_names[-1] == "mine"
        assert screen.field("scores").value == ""


async def test_an_emptied_entry_goes_back_to_the_presets(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        await enter(pilot, screen, "epochs", "3")
        screen.field("epochs").focus_entry()
        await pilot.press("backspace")
        await judged(pilot, screen)
        assert order_of(screen).studies == PRESETS["quick"].specs
        assert screen.field("epochs").value == ""  # somebody is about to type
        await pilot.press("tab")
        await until(pilot, lambda: screen.field("epochs").value == "6", "the preset's")


async def test_patterns_and_ratios_of_their_own(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        for name, value in (
            ("layers", "conv1:0.5,conv2:0.3"),
            ("layers", "conv*"),
            ("ratio", "conv1:0.3"),
        ):
            await enter(pilot, screen, name, value)
            wanted = read_entries({name: value}, PRESETS["quick"])
            assert order_of(screen).studies == (wanted,)
            await enter(pilot, screen, name, "")


async def test_another_model_brings_its_own_layers_and_schedules(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        await enter(pilot, screen, "model", "resnet20")
        assert screen.field("layers").value.startswith("layer1.0.conv1,layer1.1.conv1")
        assert screen.field("epochs").value == "120"
        assert screen.field("candidates").value == "1000"


async def test_a_typed_model_is_looked_into_beside_the_app(
    make_app: MakeApp, tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\n"
        "class Net(nn.Sequential):\n"
        "    size, channels = 12, 1\n\n"
        "    def __init__(self, classes):\n"
        "        super().__init__(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(),\n"
        "                         nn.Linear(400, classes))\n"
    )
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        await enter(pilot, screen, "model", f"{tmp_path}/net.py:Net")
        assert "Looking into" in sentence(screen, "model")
        assert screen.query_one("#start", Button).disabled
        await until(pilot, lambda: screen.order is not None, "what was found in it")
        (spec,) = order_of(screen).studies
        assert (spec.layers, spec.space.filters) == (("0",), (4,))
        assert "Net" in sentence(screen, "model")


async def test_both_wirings_are_two_runs_for_one_engine(
    make_app: MakeApp, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[Path, ...]] = []
    monkeypatch.setattr("engine.control.start_engine", lambda *runs: started.append(runs))
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        screen.query_one("#field-wiring Input", Input).value = "both"
        # Asked for before it is judged: it is started when it is.
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, RunScreen), "the run's screen")
        await settled(pilot)
    ((first, second),) = started
    configs = [RunReader(run).config for run in (first, second)]
    assert [config["spec"]["wiring"] for config in configs] == ["correct", "released"]
    assert configs[0]["wiring_pair"] == {"correct": first.name, "released": second.name}


async def test_typing_goes_to_the_field_that_has_the_focus(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        screen.query_one("#field-ratio Input", Input).focus()
        await pilot.press("end", "backspace", "5")
        await until(pilot, lambda: "C(10,5) = 252" in text(screen, "#outlook"), "252")


async def test_keys_that_come_in_one_burst_are_all_taken(make_app: MakeApp) -> None:
    """On a slow line a value and the tab behind it arrive together."""
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        screen.field("ratio").focus_entry()
        await pilot.pause()
        for key in ("0", ".", "3", "tab", "5", "0", "tab", "2"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        wanted = {"ratio": "0.3", "candidates": "50", "repeats": "2"}
        await until(pilot, lambda: screen.touched == wanted, "all that was typed")
        await judged(pilot, screen)
        assert order_of(screen).studies == (read_entries(wanted, PRESETS["quick"]),)


async def test_start_makes_the_run_and_follows_it(
    make_app: MakeApp, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []
    # The engine itself is another process's affair, tested where it lives.
    monkeypatch.setattr("engine.control.start_engine", started.append)
    app = make_app()
    async with app.run_test() as pilot:
        await form(pilot)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, RunScreen), "the run's screen")
        await settled(pilot)
        (folder,) = runs_dir.glob("[!.]*")
        assert started == [folder]
        assert RunReader(folder).config["spec"] == PRESETS["quick"].spec.to_json()
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(app.screen, RunsScreen)


async def test_a_folder_that_cannot_be_written_is_a_toast(
    make_app: MakeApp, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    app = make_app()
    app.runs_dir = blocked / "runs"
    async with app.run_test() as pilot:
        screen = await form(pilot)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: app._notifications, "the reason")
        assert app.screen is screen
        assert not screen.query_one("#start", Button).disabled


async def test_escape_leaves_without_starting(make_app: MakeApp, runs_dir: Path) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        await form(pilot)
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(app.screen, RunsScreen)
        assert list(runs_dir.glob("[!.]*")) == []
