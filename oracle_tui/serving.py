"""The app in a browser, through textual-serve: on this machine's own address and nowhere else."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path

from engine.errors import UsageError

HOST = "localhost"


def serve(runs_dir: Path, port: int) -> None:
    """Serve the app until interrupted; every page is an app of its own.

    Raises:
        UsageError: textual-serve is not installed.
    """
    if importlib.util.find_spec("textual_serve") is None:
        raise UsageError("Serving needs an extra: pip install 'oracle-tui[serve]'.")
    from textual_serve.server import Server

    command = shlex.join([sys.executable, "-m", "oracle_tui", "--runs-dir", str(runs_dir)])
    Server(command, host=HOST, port=port, title="oracle-tui").serve()
