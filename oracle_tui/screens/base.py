"""What all screens share: workers that report, and never crash the app."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

from textual.message import Message
from textual.screen import Screen
from textual.worker import Worker, WorkerState, get_current_worker

from engine.errors import OracleError

if TYPE_CHECKING:
    from oracle_tui.app import OracleApp

Result = TypeVar("Result")

#: Groups of workers that only look: the app may end in the middle of what they do.
LOOKING = frozenset({"read", "list", "warm", "find", "describe", "compute"})

#: Columns from which a screen shows things side by side.
WIDE = 116


def sentence(error: BaseException | None) -> str:
    """One sentence about an error: its own where it was written for people."""
    if isinstance(error, OracleError):
        return str(error)
    return f"Something went wrong ({type(error).__name__}: {error})."


class WorkingScreen(Screen[Result]):
    """A screen whose files are read, and whose acts are done, in thread workers."""

    HORIZONTAL_BREAKPOINTS: list[tuple[int, str]] | None = [  # noqa: RUF012
        (0, "-narrow"),
        (WIDE, "-wide"),
    ]

    def __init__(self) -> None:
        """Make a screen that has not told of any error yet."""
        super().__init__()
        self._told: dict[str, str] = {}  # worker group -> the error it last ended with

    @dataclass
    class Acted(Message):
        """An act asked for by a key is done; its text is a toast."""

        text: str

    @property
    def is_current(self) -> bool:
        """Whether it can be seen: on top, or under nothing but translucent screens.

        Textual also counts the screen right under an opaque one, and from its first change on
        repaints the whole terminal at every turn of the loop.
        """
        for screen in reversed(self.app.screen_stack):
            if screen is self:
                return True
            if screen.styles.background.a == 1:
                return False
        return False

    @property
    def oracle_app(self) -> OracleApp:
        """The app, by its own type."""
        return cast("OracleApp", self.app)

    def in_thread(
        self, work: Callable[[], Message | None], *, group: str, exclusive: bool = True
    ) -> None:
        """Run ``work`` in a thread and post the message it returns, unless it came too late.

        The app does not end before work is done, but for that of groups that only look.
        """
        looks = group.partition("-")[0] in LOOKING
        counted: AbstractContextManager[None] = (
            nullcontext() if looks else self.oracle_app.acts.one()
        )

        def run() -> None:
            worker = get_current_worker()
            with counted:
                message = work()
            if message is not None and not worker.is_cancelled:
                self.post_message(message)

        self.run_worker(run, thread=True, exclusive=exclusive, group=group, exit_on_error=False)

    def act(self, work: Callable[[], str]) -> None:
        """Do what a key asked for in a thread, then say how it went."""
        self.in_thread(lambda: self.Acted(work()), group="act", exclusive=False)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """An error in a worker is a toast with one sentence."""
        worker = event.worker
        if worker.node is not self:
            return
        if event.state is WorkerState.SUCCESS:
            self._told.pop(worker.group, None)
        elif event.state is WorkerState.ERROR:
            text = sentence(worker.error)
            # A look that keeps failing the same way is told once; every act gets its answer.
            if worker.group == "act" or self._told.get(worker.group) != text:
                self.notify(text, severity="error", timeout=8, markup=False)
            self._told[worker.group] = text
            self.worker_failed(worker)

    def worker_failed(self, worker: Worker[object]) -> None:
        """Let a screen go on after one of its workers failed."""

    def on_working_screen_acted(self, message: Acted) -> None:
        """Say what was done."""
        self.notify(message.text, markup=False)
        self.acted()

    def acted(self) -> None:
        """Let a screen look again after an act."""
