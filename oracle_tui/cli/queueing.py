"""`sweep`, `queue` and `merge`: many runs at once."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.errors import RunFailure, UsageError
from oracle_tui.cli import completing
from oracle_tui.cli.exit_codes import ExitCode
from oracle_tui.cli.manual import ManualGroup, command, option
from oracle_tui.cli.messages import say
from oracle_tui.cli.options import (
    chosen_runs_folder,
    json_option,
    run_argument,
    runs_argument,
    runs_dir_option,
)
from oracle_tui.cli.output import print_json, print_line, print_table
from oracle_tui.formats import DASH

if TYPE_CHECKING:
    from engine.queueing import QueuedRun
    from engine.spec import StudySpec

at_once_option = option(
    "--at-once",
    type=click.IntRange(1),
    metavar="N",
    help="How many runs share the CPU cores, 1 or more; of GPUs each free one takes a run.  "
    "[default: 1]",
)


@command(
    examples=(
        ("oracle-tui sweep grid.toml --dry-run", "Which studies the file spans."),
        ("oracle-tui sweep grid.toml --start", "Queue them and work through the queue."),
    )
)
@click.argument(
    "file",
    metavar="SPEC.toml",
    shell_complete=completing.files,
    help="Entries of `run` as keys, with _ for -; one that is a list is an axis: ratio = [0.2, "
    '0.5]. Layers that belong together stand in one text: layers = ["conv1", '
    '"conv1,conv2"].',
)
@option("--dry-run", is_flag=True, help="Make no run: only list the studies.")
@option("--start", is_flag=True, help="Work through the queue in the background.")
@at_once_option
@json_option
@runs_dir_option
def sweep(file: str, dry_run: bool, start: bool, at_once: int | None, as_json: bool) -> ExitCode:
    """Queue a run for every combination of a TOML file's lists.

    Nothing is made unless all studies can be. The ids of the runs go to stdout.
    """
    from engine.sweep import read_sweep

    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{file} cannot be read: {said}.") from error
    found = read_sweep(text)
    folder = chosen_runs_folder()
    names = [] if dry_run else list(found.enqueue(folder))
    if as_json:
        known: list[str | None] = [*names] or [None] * len(found.studies)
        print_json(
            [
                {"id": name, "n_total": spec.rows, "spec": spec.to_json()}
                for name, spec in zip(known, found.studies, strict=True)
            ]
        )
    elif dry_run:
        for line in _study_lines(found.studies):
            print_line(line)
    else:
        for name in names:
            print_line(name)
    if dry_run:
        return ExitCode.OK
    if start:
        _start(folder, at_once)
    else:
        say(f"{len(names)} runs wait; `oracle-tui queue start` works through them.")
    return ExitCode.OK


def _study_lines(specs: Sequence[StudySpec]) -> Iterator[str]:
    """Yields a line for each study of a sweep, with all in which they differ."""
    from engine.spelled import differing

    named = ("model", "dataset", "layers", "ratio", "candidates", "seed")
    for spec, entries in zip(specs, differing(specs), strict=True):
        more = [f", {name} {text or DASH}" for name, text in entries.items() if name not in named]
        yield (
            f"{spec.model} {spec.dataset} {'+'.join(spec.layers)} {spec.ratio_text} "
            f"seed {spec.seed}{''.join(more)}: {spec.space.formula()}"
        )


@click.group(
    cls=ManualGroup,
    invoke_without_command=True,
    examples=(
        ("oracle-tui queue", "The runs in their order, and who works on them."),
        ("oracle-tui queue start --detach", "Work through them in the background."),
        ("oracle-tui queue move 1a2b first", "A run comes before all others."),
    ),
)
@json_option
@runs_dir_option
@click.pass_context
def queue(context: click.Context, as_json: bool) -> ExitCode:
    """List the queued runs, change their order, or work through them.

    Each folder of runs has one queue. A run that fails, or that you stop, leaves it.
    """
    if context.invoked_subcommand is not None:
        return ExitCode.OK
    from engine.queueing import QueueReader

    folder = chosen_runs_folder()
    state = QueueReader(folder).read()
    if as_json:
        print_json({"engine": state.engine, "runs": [_record(run) for run in state.runs]})
        return ExitCode.OK
    if not state.runs:
        say(f"The queue of {folder} is empty; `oracle-tui sweep` or `queue add` fills it.")
        return ExitCode.OK
    print_table(
        ("PLACE", "ID", "STATUS", "DONE", "WHERE"),
        [
            (
                str(place),
                run.id,
                run.status,
                f"{run.n_done:,}/{run.n_total:,}",
                f"{run.where}, process {run.pid}" if run.pid else run.where,
            )
            for place, run in enumerate(state.runs, start=1)
        ],
    )
    if state.engine is None:
        say("Nobody works through it; `oracle-tui queue start` does.")
    return ExitCode.OK


@queue.command(examples=(("oracle-tui queue add 1a2b 3c4d", "Two runs, in this order."),))
@runs_argument("None may be done.")
@runs_dir_option
def add(runs: tuple[str, ...]) -> ExitCode:
    """Put runs at the end of the queue."""
    from engine.queueing import add_runs

    folder = chosen_runs_folder()
    names = add_runs(folder, [_find(folder, text) for text in runs])
    say(f"{len(names)} run(s) put at the end of the queue.")
    return ExitCode.OK


@queue.command(
    examples=(
        ("oracle-tui queue move 1a2b 3", "To the third place."),
        ("oracle-tui queue move 1a2b last", "Behind all others."),
    )
)
@run_argument
@click.argument(
    "place",
    metavar="PLACE",
    shell_complete=completing.words("first", "last"),
    help="A number, 1 for the front; or first, or last.",
)
@runs_dir_option
def move(run: str, place: str) -> ExitCode:
    """Move a run to another place of the queue."""
    from engine.queueing import find_queued
    from engine.waiting import RunQueue

    waiting = RunQueue(chosen_runs_folder())
    name = find_queued(waiting.names(), run)
    last = len(waiting.names())
    named = {"first": 1, "last": last}.get(place)
    if named is None and not place.isdigit():
        raise UsageError(f"A place is a number from 1, first or last, not {place!r}.")
    waiting.move(name, int(place) if named is None else named)
    say(f"{name} is now number {waiting.names().index(name) + 1} of {last}.")
    return ExitCode.OK


@queue.command(examples=(("oracle-tui queue remove 1a2b", "It waits no longer."),))
@run_argument
@runs_dir_option
def remove(run: str) -> ExitCode:
    """Take a run out of the queue; the run itself stays."""
    from engine.queueing import find_queued
    from engine.waiting import RunQueue

    waiting = RunQueue(chosen_runs_folder())
    name = find_queued(waiting.names(), run)
    waiting.remove(name)
    say(f"{name} is out of the queue.")
    return ExitCode.OK


@queue.command(
    examples=(
        ("oracle-tui queue start", "Until the queue is empty; Ctrl-C stops the runs in work."),
        ("oracle-tui queue start --detach --at-once 2", "In the background, two at a time."),
    )
)
@option("--detach", is_flag=True, help="Work in the background and return at once.")
@at_once_option
@runs_dir_option
def start(detach: bool, at_once: int | None) -> ExitCode:
    """Work through the queue, a run after the other or several at once.

    One run on each free GPU, or --at-once runs on the CPU.
    """
    from engine.queueing import queue_command, queue_environment

    folder = chosen_runs_folder()
    if detach:
        _start(folder, at_once)
        return ExitCode.OK
    worker = subprocess.Popen(
        queue_command(folder, at_once), env=queue_environment(), stdout=sys.stderr
    )
    while True:
        # Ctrl-C reaches the process itself, which then stops its runs and ends.
        with contextlib.suppress(KeyboardInterrupt):
            code = worker.wait()
            break
    if code == ExitCode.USAGE:
        return ExitCode.USAGE
    if code != 0:
        raise RunFailure("The process that worked through the queue ended unexpectedly.")
    return ExitCode.OK


@queue.command(examples=(("oracle-tui queue stop", "`queue start` goes on later."),))
@runs_dir_option
def stop() -> ExitCode:
    """Stop whoever works through the queue, and the runs in work.

    The queue keeps its order.
    """
    from engine.queueing import stop_queue

    say(stop_queue(chosen_runs_folder()))
    return ExitCode.OK


@command(
    examples=(
        ("oracle-tui merge 1a2b 3c4d", "Two shards of a study, or two runs of one spec."),
        ("oracle-tui merge /shared/runs/*-shard-*-of-32", "All shards of a job array."),
    )
)
@runs_argument("At least two.", metavar="RUN RUN [RUN]...")
@runs_dir_option
def merge(runs: tuple[str, ...]) -> ExitCode:
    """Merge shards, or runs of the same spec, into one new run.

    Its id goes to stdout. Where two hold the same retraining, their results must agree. A merged
    run with rows missing can be resumed.
    """
    from engine.merge import merge_runs
    from engine.store.reader import RunReader

    folder = chosen_runs_folder()
    if len(runs) < 2:
        raise UsageError("Name at least two runs to merge.")
    readers = [RunReader(_find(folder, text)) for text in runs]
    made = merge_runs(readers, folder)
    print_line(made.name)
    result = RunReader(made)
    rows, total = len(result.rows), int(result.config["n_total"])
    if result.status == "done":
        say(f"Merged {len(readers)} runs; all {total:,} retrainings are there.")
    else:
        say(
            f"Merged {len(readers)} runs; {rows:,} of {total:,} rows are there; "
            f"`oracle-tui resume {made.name}` works on the rest."
        )
    return ExitCode.OK


def _find(folder: Path, text: str) -> Path:
    from engine.store.listing import find_run

    return find_run(folder, text)


def _record(run: QueuedRun) -> dict[str, Any]:
    return {
        "id": run.id,
        "status": run.status,
        "n_done": run.n_done,
        "n_total": run.n_total,
        "where": run.where,
        "workers": list(run.workers),
        "process": run.pid,
        "eta_seconds": run.seconds,
    }


def _start(folder: Path, at_once: int | None) -> None:
    from engine.queueing import start_queue

    say(start_queue(folder, at_once))
