"""`doctor`: can a run start here?"""

from __future__ import annotations

from typing import Any

from oracle_tui.cli.exit_codes import ExitCode
from oracle_tui.cli.manual import command
from oracle_tui.cli.messages import say
from oracle_tui.cli.options import chosen_runs_folder, json_option, runs_dir_option
from oracle_tui.cli.output import print_json, print_line
from oracle_tui.config import config_path


@command(
    examples=(
        ("oracle-tui doctor", "What a run would find on this machine."),
        ("oracle-tui doctor --json", "The same for a program, or for a report of a problem."),
    ),
    parts={"Exit codes": (("0", "A run can start."), ("1", "None can; `problem:` says why."))},
)
@json_option
@runs_dir_option
def doctor(as_json: bool) -> ExitCode:
    """Tell whether a run can start here, with versions and devices.

    The engine's libraries are imported once in a process of their own, which takes some seconds.
    """
    from engine.doctor import diagnose

    told = diagnose(chosen_runs_folder(), config_path())
    if as_json:
        print_json(told)
    else:
        for line in _lines(told):
            print_line(line)
        say("A run can start here." if told["can_start"] else "No run can start here.")
    return ExitCode.OK if told["can_start"] else ExitCode.FAILED


def _lines(told: dict[str, Any]) -> list[str]:
    facts = [(name, version or "not installed") for name, version in told["versions"].items()]
    hardware, engine = told["devices"], told["engine"]
    facts += [
        ("cpus", f"{hardware['cpus_usable']} of {hardware['cpus']} usable"),
        (
            "memory",
            f"{_gigabytes(hardware['memory_available_bytes'])} free of "
            f"{_gigabytes(hardware['memory_bytes'])}",
        ),
    ]
    facts += [
        (
            f"gpu {gpu['index']}",
            f"{gpu['name']}, {_gigabytes(gpu['memory_free_bytes'])} free of "
            f"{_gigabytes(gpu['memory_bytes'])}",
        )
        for gpu in hardware["gpus"]
    ] or [("gpus", f"none ({hardware['gpu_note']})" if hardware["gpu_note"] else "none")]
    if not engine["error"]:
        seen = ", ".join(
            name if name == kind else f"{name} ({kind})" for name, kind in engine["devices"].items()
        )
        facts.append(("engine sees", seen))
        kernel = engine["kernel"]
        facts.append(("fused kernel", "usable" if kernel["usable"] else kernel["reason"]))
    for folder in told["folders"]:
        speed = "" if folder["fsync_ms"] is None else f", fsync {folder['fsync_ms']:.1f} ms"
        there = "" if folder["exists"] else " (not there yet)"
        facts.append(
            (
                folder["name"],
                f"{folder['path']}{there}: {folder['file_system'] or 'unknown file system'}, "
                f"{_gigabytes(folder['free_bytes'])} free{speed}",
            )
        )
    lines = [f"{name:<14}{value}" for name, value in facts]
    lines += [f"warning: {warning}" for warning in told["warnings"]]
    return lines + [f"problem: {problem}" for problem in told["problems"]]


def _gigabytes(n: int) -> str:
    return f"{n / 1e9:.1f} GB"
