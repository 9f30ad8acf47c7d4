"""The engine process: `python -m engine RUN_FOLDER` works on a run until it is done or stopped.

Given several folders it works on one after the other, for as long as each gets done.
`python -m engine describe MODEL` looks into a model instead and prints what it finds as JSON, and
`describe-data FILE.py:NAME` into a data set; `measure DEVICE` reads a spec and prints its cost.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import OracleError
from engine.store.writer import RunWriter

if TYPE_CHECKING:
    from engine.work.session import Session


def main(arguments: list[str]) -> int:
    """Works on the runs named by the arguments; returns the exit code of the process."""
    # CUDA counts the quickest GPU first unless it is told to count as the driver and nvidia-smi do.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    if arguments[:1] == ["describe"] and len(arguments) == 2:
        return _describe(arguments[1])
    if arguments[:1] == ["describe-data"] and len(arguments) == 2:
        return _describe_data(arguments[1])
    if arguments[:1] == ["measure"] and len(arguments) == 2:
        return _measure(arguments[1])
    if arguments[:1] == ["--queue"]:
        return _work_through_queue(arguments[1:])
    takeover = "--takeover" in arguments
    folders = [argument for argument in arguments if argument != "--takeover"]
    if not folders:
        print("usage: python -m engine [--takeover] RUN_FOLDER [RUN_FOLDER]...", file=sys.stderr)
        return 2
    # The engine has no terminal to lose, and a hang-up must not reach it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    code = 0
    for folder in folders:
        try:
            writer = RunWriter.open(Path(folder), takeover=takeover)
        except OracleError as error:
            print(error, file=sys.stderr)
            return 2
        except OSError as error:
            why = error.strerror or error
            print(f"{folder} cannot be written ({why}); free some room.", file=sys.stderr)
            return 2
        try:
            code = _work(writer)
            if writer.status != "done":
                break
        finally:
            writer.close()
    return code


def _describe(name: str) -> int:
    """Prints the facts of a model as one line of JSON, or why there are none."""
    from engine.work.describe import describe_model

    try:
        print(json.dumps({"model": describe_model(name).to_json()}))
    except OracleError as error:
        print(json.dumps({"error": str(error)}))
        return 2
    return 0


def _describe_data(name: str) -> int:
    """Prints the facts of a person's data class as one line of JSON, or why there are none."""
    from engine.work.datasets.file_class import describe_class

    try:
        print(json.dumps({"dataset": describe_class(name).to_json()}))
    except OracleError as error:
        print(json.dumps({"error": str(error)}))
        return 2
    return 0


def _measure(device: str) -> int:
    """Reads a spec from standard input and prints what it costs as one line of JSON."""
    from engine.spec import StudySpec
    from engine.work.measure import measure

    try:
        print(json.dumps(measure(StudySpec.from_json(json.load(sys.stdin)), device)))
    except OracleError as error:
        print(json.dumps({"error": str(error)}))
        return 2
    return 0


def _work_through_queue(arguments: list[str]) -> int:
    """Works on the queued runs of a folder, so many at once where no GPUs decide it."""
    from engine.queue_engine import work_through_queue

    if len(arguments) not in (1, 2) or not "".join(arguments[1:] or "1").isdigit():
        print("usage: python -m engine --queue RUNS_FOLDER [AT_ONCE]", file=sys.stderr)
        return 2
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        work_through_queue(Path(arguments[0]), int(arguments[1]) if arguments[1:] else None)
    except OracleError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _work(writer: RunWriter) -> int:
    """Runs the study and leaves its status and the reason for it in the run."""
    from engine.work.session import Session, StopRequested, TakenOver

    with Session(writer, int(writer.config["n_total"])) as session:
        signal.signal(signal.SIGTERM, lambda *_: session.stop())
        signal.signal(signal.SIGINT, lambda *_: session.stop())
        try:
            status, message = _study(writer, session)
            _leave(writer, session, status, message)
        except StopRequested:  # told to stop while there is no room to write that it did
            writer.log("ended without room for a last word; everything acknowledged is kept")
            writer.obeyed()
            return 1
        except TakenOver as error:
            writer.log(str(error))
            print(error, file=sys.stderr)
            return 1
        except OSError as error:  # its disk is gone, say
            why = error.strerror or error
            print(f"{writer.folder} cannot be written any more ({why}).", file=sys.stderr)
            return 1
    return 1 if status == "failed" else 0


def _study(writer: RunWriter, session: Session) -> tuple[str, str]:
    """Runs the study; returns the status it ended with and the reason for it.

    Raises:
        TakenOver: The run is another engine's now.
    """
    from engine.work.memory import sentence_of
    from engine.work.session import StopRequested, TakenOver

    try:
        session.keep(lambda: writer.set_status("running"))
        # Importing torch takes seconds; by now readers see a running engine.
        from engine.work.study import run_study

        run_study(writer, session)
        return "done", ""
    except StopRequested:
        return "stopped", ""
    except OracleError as error:
        return "failed", str(error)
    except TakenOver:
        raise
    except Exception as error:
        for line in traceback.format_exc().splitlines():
            writer.log(line)
        return "failed", sentence_of(error)


def _leave(writer: RunWriter, session: Session, status: str, message: str) -> None:
    """Makes the last status durable and visible."""
    from engine.summary import summarise_run

    writer.log(f"{status}: {message}" if message else status)
    writer.set_summary(summarise_run(writer.config, status, writer.rows))
    session.keep(lambda: writer.set_status(status, message))
    session.keep(lambda: writer.publish(final=status == "done"))
    writer.obeyed()
    session.say(status=status, note=message, provisional=[])
    if status == "done":
        session.stage("finished")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
