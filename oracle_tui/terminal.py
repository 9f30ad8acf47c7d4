"""The terminal as the app's driver has it: what a hang-up, a stop and a lost line do. No widget."""

from __future__ import annotations

import os
import selectors
from codecs import getincrementaldecoder
from typing import IO, Any

from textual.drivers.linux_driver import LinuxDriver

from oracle_tui.key_parser import KeyParser

#: Seconds between two looks at whether the app has ended, or an escape stood alone.
LOOK = 0.1


class LastingFile:
    """A terminal to write to that may be gone: then what is written goes nowhere.

    Textual's writer is a thread that an error ends, and whoever writes after that waits for it
    for ever once its queue is full: an app that was hung up on could not end.
    """

    def __init__(self, file: IO[str]) -> None:
        """Write to this file as long as it is there."""
        self._file = file
        self.gone = False

    def fileno(self) -> int:
        """Return the number of the file."""
        return self._file.fileno()

    def isatty(self) -> bool:
        """Return whether it is a terminal, still."""
        return not self.gone and self._file.isatty()

    def write(self, text: str) -> int:
        """Write, or drop what can reach nobody."""
        if not self.gone:
            try:
                self._file.write(text)
            except (OSError, ValueError):
                self._lost()
        return len(text)

    def flush(self) -> None:
        """Send what is written, or drop it."""
        if not self.gone:
            try:
                self._file.flush()
            except (OSError, ValueError):
                self._lost()

    def _lost(self) -> None:
        """Let what is buffered go nowhere too: Python flushes it once more when it ends."""
        self.gone = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._file.fileno())
        os.close(nowhere)


class TerminalDriver(LinuxDriver):
    """Textual's driver, made to end in order when its terminal goes."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        """Make the driver; arguments as Textual's."""
        super().__init__(*args, **settings)
        self._file: Any = LastingFile(self._file)
        self._asleep = False

    def start_application_mode(self) -> None:
        """Begin on an empty terminal, also after another program had it."""
        shown = getattr(self._app, "shown", None)
        if shown is not None:
            shown.forget()
        super().start_application_mode()  # type: ignore[no-untyped-call]

    def _sigtstp_application(self, *signal_and_frame: object) -> None:
        self._asleep = True
        super()._sigtstp_application(*signal_and_frame)

    def _sigcont_application(self, *signal_and_frame: object) -> None:
        """Take the terminal again, but only after a stop that gave it back.

        A hang-up is SIGHUP and SIGCONT. Textual would start a second thread of keys on the dead
        terminal then; whether the first one, which keeps the process, sees the end is chance.
        """
        if self._asleep:
            self._asleep = False
            super()._sigcont_application(*signal_and_frame)

    def run_input_thread(self) -> None:
        """Read keys until the app ends or the terminal is gone; the latter is no crash."""
        parser = KeyParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        try:
            with selectors.SelectSelector() as selector:
                selector.register(self.fileno, selectors.EVENT_READ)
                while not self.exit_event.is_set():
                    if selector.select(LOOK):
                        read = os.read(self.fileno, 4096)
                        if not read:
                            raise OSError("the terminal has ended")
                        for event in parser.feed(decode(read)):
                            self.process_message(event)
                    for event in parser.tick():
                        self.process_message(event)
        except OSError:
            self._app.call_later(self._app.exit, return_code=129)
