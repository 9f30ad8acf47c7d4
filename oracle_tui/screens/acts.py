"""What the list of runs, the queue and a run's own screen do to runs: ask, act, tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oracle_tui import actions
from oracle_tui.screens.base import WorkingScreen
from oracle_tui.screens.confirm import ConfirmScreen
from oracle_tui.views import LIVE


@dataclass(frozen=True)
class Target:
    """A run that an act is meant for, as it was last seen."""

    path: Path
    id: str
    status: str


class ActingScreen(WorkingScreen[None]):
    """A screen with keys that act on runs. Every act runs in a thread and ends in a toast."""

    @property
    def target(self) -> Target | None:
        """The run that keys are for now; each screen says which."""
        return None

    @property
    def targets(self) -> list[Target]:
        """The runs that keys for several are for."""
        return [] if self.target is None else [self.target]

    def action_pause(self) -> None:
        """Pause, or go on."""
        if self.target is not None:
            self.pause_or_go_on(self.target)

    def action_resume(self) -> None:
        """Go on with the run."""
        if self.target is not None:
            self.resume(self.target)

    def action_stop(self) -> None:
        """Stop the runs, after asking."""
        self.stop(self.targets)

    def action_export(self) -> None:
        """Write the CSV files of the runs."""
        self.export(self.targets)

    def action_copy(self) -> None:
        """Send the run's id to the terminal's clipboard."""
        if self.target is not None:
            self.copy_id(self.target)

    def pause_or_go_on(self, run: Target) -> None:
        """Pause a working run, wake a paused one."""
        if run.status == "paused":
            self.act(lambda: actions.resume(run.path, run.status))
        elif run.status in ("running", "queued"):
            self.act(lambda: actions.pause(run.path))
        else:
            self.notify(f"{run.id} is {run.status}: there is nothing to pause.", markup=False)

    def resume(self, run: Target) -> None:
        """Go on with a paused, stopped, failed or stalled run."""
        self.act(lambda: actions.resume(run.path, run.status))

    def stop(self, runs: Sequence[Target]) -> None:
        """Stop those that are worked on, after asking."""
        working = [run for run in runs if run.status in LIVE or run.status == "stalled"]
        if not working:
            self.notify("Nothing to stop: the run is not running.", markup=False)
            return

        def answered(yes: bool | None) -> None:
            for run in working if yes else ():
                self.act(lambda path=run.path: actions.stop(path))  # type: ignore[misc]

        question = f"Stop {_what(working)}? Finished candidates are kept, and r resumes."
        self.app.push_screen(ConfirmScreen(question, "Stop"), answered)

    def delete(self, runs: Sequence[Target]) -> None:
        """Delete runs for good, after asking."""
        paths, runs_dir = [run.path for run in runs], self.oracle_app.runs_dir

        def answered(yes: bool | None) -> None:
            if yes:
                self.act(lambda: actions.delete(paths, runs_dir))

        question = f"Delete {_what(runs)}, with every result in it? This cannot be undone."
        self.app.push_screen(ConfirmScreen(question, "Delete"), answered)

    def export(self, runs: Sequence[Target]) -> None:
        """Write candidates and summary of each as CSV, and say where."""
        folder = self.oracle_app.config.export_dir

        def work() -> str:
            written = [path for run in runs for path in actions.export(run.path, run.id, folder)]
            names = ", ".join(path.name for path in written[:2])
            more = f" and {len(written) - 2} more" if len(written) > 2 else ""
            return f"Wrote {names}{more} in {written[0].parent}"

        if runs:
            self.act(work)

    def enqueue(self, runs: Sequence[Target]) -> None:
        """Put runs at the end of the queue."""
        paths, runs_dir = [run.path for run in runs], self.oracle_app.runs_dir

        def work() -> str:
            from engine.queueing import add_runs

            names = add_runs(runs_dir, paths)
            what = names[0] if len(names) == 1 else f"{len(names)} runs"
            return f"{what} put at the end of the queue; Q shows it."

        if paths:
            self.act(work)

    def copy_id(self, run: Target) -> None:
        """Send the id to the terminal's clipboard; whether it takes it nobody can know."""
        self.app.copy_to_clipboard(run.id)
        self.notify(f"Sent to the terminal: {run.id}", markup=False)


def _what(runs: Sequence[Target]) -> str:
    return runs[0].id if len(runs) == 1 else f"{len(runs)} runs"
