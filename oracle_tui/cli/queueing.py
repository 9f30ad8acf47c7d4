"""`sweep`, `queue` and `merge`: many runs at once."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from engine.errors import RunFailure, UsageError
from oracle_tui.cli.exit_codes import ExitCode
from oracle_tui.cli.messages import say
from oracle_tui.cli.options import chosen_runs_folder, json_option, runs_dir_option
from oracle_tui.cli.output import print_json, print_line, print_table

at_once_option = click.option(
    "--at-once", type=click.IntRange(1), metavar="N", help="Runs that share the CPU cores."
)


@click.command()
@click.argument("file", metavar="SPEC.toml")
@click.option("--dry-run", is_flag=True, help="Only say which studies it has.")
@click.option("--start", is_flag=True, help="Work through the queue in the background.")
@at_once_option
@json_option
@runs_dir_option
def sweep(file: str, dry_run: bool, start: bool, at_once: int | None, as_json: bool) -> ExitCode:
    """Queue a run for every combination of a TOML file's lists, such as `ratio = [0.2, 0.5]`."""
    from engine.sweep import read_sweep

    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{file} cannot be read: {said}.") from error
    found = read_sweep(text)
    folder, names = chosen_runs_folder(), list[str]()
    if not dry_run:
        from engine.control import create_run
        from engine.waiting import RunQueue

        for spec in found.studies:
            run = create_run(folder, spec, found.device, executor=found.executor)
            # One by one: what was made before a full disk is in the queue.
            RunQueue(folder).add([run.name])
            names.append(run.name)
    if as_json:
        known: list[str | None] = [*names] or [None] * len(found.studies)
        print_json(
            [
                {"id": name, "n_total": spec.rows, "spec": spec.to_json()}
                for name, spec in zip(known, found.studies, strict=True)
            ]
        )
    elif dry_run:
        for spec in found.studies:
            print_line(
                f"{spec.model} {spec.dataset} {'+'.join(spec.layers)} {spec.ratio_text} "
                f"seed {spec.seed}: {spec.space.formula()}"
            )
    else:
        for name in names:
            print_line(name)
    if dry_run:
        return ExitCode.OK
    if start:
        _start_detached(folder, at_once)
    else:
        say(f"{len(names)} runs wait; `oracle-tui queue start` works through them.")
    return ExitCode.OK


@click.group(invoke_without_command=True)
@json_option
@runs_dir_option
@click.pass_context
def queue(context: click.Context, as_json: bool) -> ExitCode:
    """List the queued runs, or change their order."""
    if context.invoked_subcommand is not None:
        return ExitCode.OK
    from engine.waiting import RunQueue

    folder = chosen_runs_folder()
    records = [_record(folder, name) for name in RunQueue(folder).names()]
    if as_json:
        print_json({"engine": _engine(folder), "runs": records})
        return ExitCode.OK
    if not records:
        say(f"The queue of {folder} is empty; `oracle-tui sweep` or `queue add` fills it.")
        return ExitCode.OK
    print_table(
        ("PLACE", "ID", "STATUS", "DONE", "WHERE"),
        [
            (
                str(place),
                record["id"],
                record["status"],
                f"{record['n_done']:,}/{record['n_total']:,}",
                record["where"],
            )
            for place, record in enumerate(records, start=1)
        ],
    )
    if _engine(folder) is None:
        say("Nobody works through it; `oracle-tui queue start` does.")
    return ExitCode.OK


@queue.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN [RUN]...")
@runs_dir_option
def add(runs: tuple[str, ...]) -> ExitCode:
    """Put runs at the end of the queue."""
    from engine.store.reader import RunReader
    from engine.waiting import RunQueue

    folder, names = chosen_runs_folder(), list[str]()
    for text in runs:
        path = _find(folder, text)
        if path.parent.resolve() != folder.resolve() or not path.is_dir():
            raise UsageError(f"{path} is not a run of {folder}, so its queue cannot hold it.")
        if RunReader(path).status == "done":
            raise UsageError(f"{path.name} is done; there is nothing to queue.")
        names.append(path.name)
    RunQueue(folder).add(names)
    say(f"{len(names)} run(s) put at the end of the queue.")
    return ExitCode.OK


@queue.command()
@click.argument("run")
@click.argument("place", metavar="PLACE|first|last")
@runs_dir_option
def move(run: str, place: str) -> ExitCode:
    """Move a run to another place of the queue."""
    from engine.waiting import RunQueue

    waiting = RunQueue(chosen_runs_folder())
    name = _queued(waiting.names(), run)
    last = len(waiting.names())
    named = {"first": 1, "last": last}.get(place)
    if named is None and not place.isdigit():
        raise UsageError(f"A place is a number from 1, first or last, not {place!r}.")
    waiting.move(name, int(place) if named is None else named)
    say(f"{name} is now number {waiting.names().index(name) + 1} of {last}.")
    return ExitCode.OK


@queue.command()
@click.argument("run")
@runs_dir_option
def remove(run: str) -> ExitCode:
    """Take a run out of the queue; the run itself stays."""
    from engine.waiting import RunQueue

    waiting = RunQueue(chosen_runs_folder())
    name = _queued(waiting.names(), run)
    waiting.remove(name)
    say(f"{name} is out of the queue.")
    return ExitCode.OK


@queue.command()
@click.option("--detach", is_flag=True, help="Work in the background and return at once.")
@at_once_option
@runs_dir_option
def start(detach: bool, at_once: int | None) -> ExitCode:
    """Work through the queue: one run per free GPU, or --at-once runs on the CPU."""
    folder = chosen_runs_folder()
    if detach:
        _start_detached(folder, at_once)
        return ExitCode.OK
    worker = subprocess.Popen(_command(folder, at_once), env=_environment(), stdout=sys.stderr)
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


@queue.command()
@runs_dir_option
def stop() -> ExitCode:
    """Stop the runs in work and whoever works through the queue; it keeps its order."""
    import signal

    folder = chosen_runs_folder()
    pid = _engine(folder)
    if pid is None:
        raise UsageError(f"Nobody on this machine works through the queue of {folder}.")
    os.kill(pid, signal.SIGTERM)
    say("The runs in work are asked to stop; they stay in the queue.")
    return ExitCode.OK


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN [RUN]...")
@runs_dir_option
def merge(runs: tuple[str, ...]) -> ExitCode:
    """Merge shards, or runs of the same spec, into one new run; print its id."""
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


def _queued(names: list[str], text: str) -> str:
    """Returns the queued run that a name, or the beginning of one, means."""
    if text in names:
        return text
    matches = [name for name in names if text and name.startswith(text)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(f"{text!r} matches {len(matches)} queued runs; give more of the id.")
    raise UsageError(f"No run in the queue begins with {text!r}; `oracle-tui queue` lists it.")


def _record(folder: Path, name: str) -> dict[str, Any]:
    from engine.errors import OracleError
    from engine.store.reader import RunReader
    from engine.summary import finished_rows
    from oracle_tui.cli.summaries import believed_status

    try:
        reader = RunReader(folder / name)
    except OracleError as error:
        return {
            "id": name, "status": "missing", "n_done": 0, "n_total": 0,
            "where": str(error), "workers": [],
        }  # fmt: skip
    workers = (reader.config.get("environment") or {}).get("workers") or []
    executor = str(reader.config.get("executor") or "inline")
    return {
        "id": name,
        "status": believed_status(folder / name, reader.status),
        "n_done": len(finished_rows(reader.rows)),
        "n_total": int(reader.config["n_total"]),
        "where": f"{executor}, {reader.config.get('device')}",
        "workers": workers,
    }


def _engine(folder: Path) -> int | None:
    """Returns the process on this machine that works through the queue, if there is one."""
    from engine.store.lock import read_holder
    from engine.waiting import ENGINE_LOCK_NAME

    try:
        holder = read_holder(folder / ENGINE_LOCK_NAME)
    except FileNotFoundError:
        return None
    return holder.pid if holder is not None and holder.state() == "alive" else None


def _start_detached(folder: Path, at_once: int | None) -> None:
    from engine.folders import ensure_private
    from engine.waiting import LOG_NAME

    if _engine(folder) is not None:
        say("The queue is being worked through already.")
        return
    ensure_private(folder)
    log = folder / LOG_NAME
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(log, flags, 0o600)
    except OSError as error:
        raise UsageError(f"{log} cannot be written: {error.strerror}.") from error
    with os.fdopen(descriptor, "ab") as file:
        subprocess.Popen(
            _command(folder, at_once),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=_environment(),
            start_new_session=True,
        )
    say(f"The queue is worked through in the background; {log} says how it goes.")


def _command(folder: Path, at_once: int | None) -> list[str]:
    count = [] if at_once is None else [str(at_once)]
    return [sys.executable, "-P", "-m", "engine", "--queue", str(folder.resolve()), *count]


def _environment() -> dict[str, str]:
    from engine.control import package_search_path

    return {**os.environ, "PYTHONPATH": package_search_path()}
