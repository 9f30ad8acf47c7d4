"""One sentence about a run's engine, and how to go on. No widget and no file enters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.store.liveness import EngineLife


def engine_sentence(life: EngineLife, go_on: str, take_over: str) -> str:
    """Returns what a person should know of a run's engine; empty where all is as it should be.

    Args:
        life: What can be told of the engine.
        go_on: How to resume the run here, as a phrase such as "r resumes it".
        take_over: How to take it over from another host, likewise.
    """
    holder, silence = life.holder, "has given no sign of life for 30 seconds"
    if life.status == "done":
        return ""
    if life.state == "dead":
        why = "with the machine's restart" if life.restarted else "(killed, or out of memory)"
        return f"The engine, {holder}, is gone {why}; {go_on}."
    if life.state == "silent" and life.remote:
        return f"The engine, {holder}, {silence}; if it is certainly gone, {take_over}."
    if life.state == "silent":
        pid = holder.pid if holder else 0
        return f"The engine, {holder}, {silence}; end it with `kill -9 {pid}`, then {go_on}."
    if life.state == "remote":
        return f"The engine is {holder}; if that is certainly gone, {take_over}."
    if life.note:
        return life.note
    if life.state == "alive":
        return f"It waits; {go_on}." if life.status == "paused" else ""
    if life.status == "stalled":
        return f"The engine ended without a word; {go_on}."
    if life.status == "queued":
        return f"No engine has begun yet; {go_on}."
    return f"No engine works on it; {go_on}."
