"""The first page of the manual, and `help`, which opens any of its pages."""

from __future__ import annotations

import difflib

import click

from engine.errors import UsageError
from oracle_tui.cli.manual import command

HEADINGS = {
    "Make runs": ("demo", "run", "sweep", "queue", "import", "merge"),
    "Look after runs": ("runs", "pause", "resume", "stop", "check"),
    "Read results": ("show", "compare", "leaderboard", "figure", "report", "export"),
    "What there is": ("models", "datasets", "presets", "scores", "doctor"),
    "This program": ("help", "completion"),
}

EXAMPLES = (
    ("oracle-tui", "Open the app; recorded runs are there to look at."),
    ("oracle-tui demo", "Run a small study and watch it."),
    ("oracle-tui run --preset quick --seed 1", "The same without the app, with another seed."),
    ("oracle-tui show lenet5-mini-mnist-5k-conv1-0.5", "The numbers of a recorded run."),
    ("oracle-tui help run", "All flags of a command."),
)

PARTS = {
    "Exit codes": (
        ("0", "All is well."),
        ("1", "A run began and could not go on, or a check found something wrong."),
        ("2", "What was asked for cannot be done; one sentence on stderr says why."),
        ("130", "Interrupted by Ctrl-C, or stopped from elsewhere."),
    ),
    "Environment": (
        ("ORACLE_TUI_RUNS", "The folder of runs."),
        ("ORACLE_TUI_CACHE", "The folder of base networks, downloads and compiled code."),
        ("ORACLE_TUI_CONFIG", "The configuration file."),
        (
            "ORACLE_TUI_CHECKPOINT_SECONDS",
            "How often what is being trained is saved, so that a killed engine goes on from "
            "there.  [default: 30]",
        ),
        (
            "ORACLE_TUI_PACKS",
            "Kinds of packs that a new run may choose from, such as stacked solo, where one does "
            "not work on a device.",
        ),
        ("ORACLE_TUI_IMAGENET", "The folder of ImageNet-1K, with train/ and val/ in it."),
        ("ORACLE_TUI_THEME", "A theme of the app, such as textual-light."),
        ("ORACLE_TUI_MOUSE", "0 leaves the mouse to the terminal."),
        ("NO_COLOR", "Draw the app without colours."),
        ("CUDA_VISIBLE_DEVICES", "The GPUs that may be used."),
    ),
    "Files": (
        (
            "~/.config/oracle-tui/config.toml",
            "Settings: theme, mouse, runs_dir, export_dir, and a table keys. A flag wins over the "
            "environment, and that over this file.",
        ),
        (
            "~/.local/share/oracle-tui/runs/ID",
            "A run: run.h5, which plain HDF5 tools read at any moment, a journal of what came "
            "since, and engine.log.",
        ),
        ("~/.cache/oracle-tui", "What can be made again, and may be deleted."),
    ),
}


@command(
    "help",
    examples=(
        ("oracle-tui help", "The first page."),
        ("oracle-tui help run", "The same as `oracle-tui run --help`."),
        ("oracle-tui help queue move", "A command of a command."),
    ),
)
@click.argument(
    "names",
    nargs=-1,
    metavar="[COMMAND]...",
    shell_complete=lambda context, _, text: _pages(context, text),
    help="A command, then one of its own; none for the first page.",
)
@click.pass_context
def help_(context: click.Context, names: tuple[str, ...]) -> None:
    """Show the manual of the program, or of a command."""
    page = context.find_root()
    for name in names:
        known = page.command.commands if isinstance(page.command, click.Group) else {}
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "see `oracle-tui help`."
            raise UsageError(f"{page.command_path} has no command {name!r}; {hint}")
        page = click.Context(known[name], info_name=name, parent=page)
    click.echo(page.get_help())


def _pages(context: click.Context, text: str) -> list[click.shell_completion.CompletionItem]:
    command: click.Command | None = context.find_root().command
    for name in context.params.get("names") or ():
        command = command.commands.get(name) if isinstance(command, click.Group) else None
    known = command.commands if isinstance(command, click.Group) else {}
    return [
        click.shell_completion.CompletionItem(name, help=known[name].get_short_help_str())
        for name in sorted(known)
        if name.startswith(text)
    ]
