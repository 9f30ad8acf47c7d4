"""Bad input: exit code 2, exactly one sentence on stderr, nothing on stdout, no traceback."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from oracle_tui.cli.screen import hindrance


def assert_refused(answer, says):
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    assert answer.err.endswith("\n")
    assert says in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--model", "lenet6"), "did you mean lenet5"),
        (("--model", "no-such-model"), "no model named 'no-such-model'"),
        (("--dataset", "imagewoof"), "no data set named 'imagewoof'"),
        (("--preset", "quikc"), "did you mean quick?"),
        (("--preset", "paper/vit-b16-imagenet-all-0.5"), "it waits for the number of draws"),
        (("--preset", "quick/widths", "--candidates", "0"), "at least 1"),
        (("--ratio", "0"), "between 0 and 1"),
        (("--ratio", "1"), "between 0 and 1"),
        (("--ratio", "-3"), "between 0 and 1"),
        (("--ratio", "nan"), "between 0 and 1"),
        (("--ratio", "a half"), "must be a number"),
        (("--layers", "conv9"), "no layer named 'conv9'"),
        (("--layers", "conv1,conv1"), "twice"),
        (("--candidates", "0"), "at least 1"),
        (("--candidates", "46", "--ratio", ".2"), "Between 1 and 45"),
        (("--repeats", "0"), "repeats"),
        (("--epochs", "0"), "epochs"),
        (("--pretrain-epochs", "x"), "whole number"),
        (("--seed", "-1"), "seed"),
        (("--wiring", "crossed"), "correct, released or both"),
        (("--device", "cuda:512"), "no device cuda:512"),
        (("--device", "tpu"), "auto, cpu, cuda"),
        (("--recipe", "mixop=1"), "did you mean mixup"),
        (("--pretrain-recipe", "warmup=99"), "The warm-up must be from 0 to 29"),
        (("--weights", "nowhere.pt"), "nowhere.pt cannot be read: No such file"),
        (("--weights", "pretrained"), "No library has pretrained weights of LeNet5-Mini"),
        (("--tune",), "--tune needs --weights"),
        (("--granularity", "blocks"), "filters or weights"),
        (("--granularity", "weights", "--wiring", "both"), "its wiring is correct"),
        (("--granularity", "weights", "--scores", "fpgm"), "not for single weights"),
        (("--scope", "global"), "--scope global is for weights"),
        (("--frobnicate",), "--frobnicate"),
        (("left-over",), "left-over"),
        (("--seed",), "--seed"),
    ],
)
def test_a_study_that_cannot_be(oracle_tui, own_folders, arguments, says):
    assert_refused(oracle_tui("run", *arguments), says)
    assert not (own_folders / "runs").exists()


@pytest.mark.parametrize("arguments", [("run",), ("run", "--json"), ("demo",), ("run", "--detach")])
def test_a_runs_folder_that_cannot_be_written(oracle_tui, arguments):
    assert_refused(oracle_tui("--runs-dir", "/proc/nowhere", *arguments), "/proc/nowhere")


def test_a_runs_folder_that_is_a_file(oracle_tui, tmp_path):
    (tmp_path / "file").write_text("")
    assert_refused(oracle_tui("run", "--runs-dir", str(tmp_path / "file")), "not a folder")


@pytest.mark.parametrize("command", ["show", "export", "pause", "resume", "stop"])
def test_a_run_that_matches_nothing(oracle_tui, command):
    assert_refused(oracle_tui(command, "no-such-run"), "no-such-run")


@pytest.mark.parametrize("command", ["show", "export", "pause", "resume", "stop"])
@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\x89HDF\r\n\x1a\n" + bytes(500)],
    ids=["empty", "text", "broken-hdf5"],
)
def test_a_run_file_that_is_none(oracle_tui, tmp_path, command, content):
    path = tmp_path / "not-a-run.h5"
    path.write_bytes(content)
    assert_refused(oracle_tui(command, str(path)), "not-a-run.h5")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("frob",), "No such command"),
        (("--frob",), "--frob"),
        (("show",), "RUN"),
        (("export",), "RUN"),
        (("export", "x", "--table", "weights"), "weights"),
        ((), "needs a terminal"),
    ],
)
def test_wrong_usage(oracle_tui, arguments, says):
    assert_refused(oracle_tui(*arguments), says)


@pytest.mark.parametrize("command", [("runs", "--json"), ("presets",), ("export",)])
def test_a_full_disk_behind_stdout(own_folders, make_run, command):
    run = [make_run().name] if command == ("export",) else []
    with open("/dev/full", "w") as full:
        told = subprocess.run(
            [sys.executable, "-m", "oracle_tui", *command, *run],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (told.returncode, told.stderr) == (
        2, "The output cannot be written: No space left on device.\n",
    )  # fmt: skip


def test_runs_that_cannot_be_read_are_not_said_to_be_none(oracle_tui, make_run):
    run = make_run()
    (run / "run.h5").write_bytes(b"")
    told = oracle_tui("runs")
    assert (told.code, told.out) == (0, "")
    assert "run.h5" in told.err
    assert "There are no runs" not in told.err


def test_the_app_is_not_shown_where_nothing_can_be_drawn(monkeypatch):
    for name in ("stdin", "stdout"):
        monkeypatch.setattr(sys, name, SimpleNamespace(isatty=lambda: True))
    monkeypatch.setenv("TERM", "dumb")
    assert "TERM is dumb" in hindrance()
    monkeypatch.setenv("TERM", "xterm")
    assert hindrance() == ""
