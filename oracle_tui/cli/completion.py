"""`completion`: the script with which a shell asks what a word can become. click wrote it."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from oracle_tui.cli.manual import command

SHELLS = ("bash", "zsh", "fish")


@command(
    examples=(
        ('eval "$(oracle-tui completion bash)"', "In this bash; in ~/.bashrc, in every one."),
        (
            "oracle-tui completion zsh > ~/.zfunc/_oracle-tui",
            "In every zsh with `fpath+=~/.zfunc; autoload -Uz compinit; compinit` in ~/.zshrc.",
        ),
        (
            "oracle-tui completion fish > ~/.config/fish/completions/oracle-tui.fish",
            "In every fish.",
        ),
    ),
)
@click.argument("shell", type=click.Choice(SHELLS), help="Which shell the script is for.")
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a shell's completion script.

    It completes commands and flags, runs by their ids, presets, models, data sets, layers of the
    chosen model, scores, and files. Bash needs to be 4.4 or newer.
    """
    root = context.find_root()
    maker = get_completion_class(shell)
    assert maker is not None  # click has one for each of SHELLS
    name = str(root.info_name)
    variable = f"_{name.replace('-', '_')}_COMPLETE".upper()
    click.echo(maker(root.command, {}, name, variable).source())
