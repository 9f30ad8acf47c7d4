"""Completion as the shells do it: each sources the script and asks the real program."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RECORDED = "lenet5-mini-mnist-5k-conv1-0.5"

# What a person has typed so far, and what must be among the answers.
CASES = (
    ("queue mo", {"move"}),
    ("run --preset qui", {"quick"}),
    ("run --model resnet20 --layers layer1.", {"layer1.0.conv1", "layer1.1.conv1"}),
    ("run --scores l1,l2", {"l1,l2"}),
    ("show lenet5-mini-mnist", {RECORDED}),
    ("figure x --outcome ", {"accuracy", "loss"}),
    ("help queue re", {"remove"}),
)

# Bash calls the function that `complete` named with the words in COMP_WORDS.
BASH = """
source {script}
complete -p oracle-tui >/dev/null || exit 9
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_oracle_tui_completion oracle-tui
printf '%s\\n' "${{COMPREPLY[@]}}"
"""

# Zsh's own functions that would draw the matches print them instead.
ZSH = """
autoload -Uz compinit && compinit -u -D
source {script}
(( $+_comps[oracle-tui] )) || exit 9
_describe() {{ print -l -- ${{completions_with_descriptions%%:*}} }}
compadd() {{ print -l -- $completions }}
words=({words}); CURRENT=$#words
_oracle_tui_completion
"""

FISH = """
source {script}
complete -C {line}
"""


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """Returns what a shell completes a line to, with oracle-tui on its path."""
    program = tmp_path / "oracle-tui"
    program.write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m oracle_tui "$@"\n', encoding="utf-8"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)

    def complete(shell: str, line: str) -> set[str]:
        script = tmp_path / f"script.{shell}"
        with script.open("w", encoding="utf-8") as file:
            subprocess.run([program, "completion", shell], stdout=file, check=True)
        words = f"oracle-tui {line}"
        listed = " ".join(shlex.quote(word) for word in words.split(" "))
        source = {"bash": BASH, "zsh": ZSH, "fish": FISH}[shell].format(
            script=script, words=listed, line=shlex.quote(words)
        )
        command = {"bash": ["bash", "--norc", "-c"], "zsh": ["zsh", "-f", "-c"]}.get(
            shell, ["fish", "--no-config", "-c"]
        )
        told = subprocess.run([*command, source], capture_output=True, text=True, timeout=60)
        assert told.returncode == 0, told.stderr
        return {answer.split("\t")[0] for answer in told.stdout.splitlines()}

    return complete


@pytest.mark.parametrize(("line", "expected"), CASES)
def test_bash_completes(typed, line, expected):
    answers = typed("bash", line)
    assert expected <= answers
    last = line.rpartition(" ")[2]
    assert all(answer.startswith(last) for answer in answers)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_another_shell_completes(typed, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    for line, expected in (CASES[0], CASES[4]):
        assert expected <= typed(shell, line)


def test_runs_of_the_folder_that_is_named_are_completed(typed, make_run, tmp_path):
    run = make_run()
    assert run.name in typed("bash", "show ")
    elsewhere = typed("bash", f"--runs-dir {tmp_path} show ")
    assert run.name not in elsewhere
    assert RECORDED in elsewhere


def test_a_path_is_left_to_the_shell(typed, tmp_path):
    (tmp_path / "copied.h5").touch()
    assert typed("bash", "show ./cop") == {""}


def test_a_shell_that_is_not_known_is_refused(oracle_tui):
    answer = oracle_tui("completion", "tcsh")
    assert answer.code == 2
    assert "bash" in answer.err
