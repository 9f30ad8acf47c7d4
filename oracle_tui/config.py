"""Settings: one TOML file, the environment over it. A wrong entry is told, never fatal."""

from __future__ import annotations

import difflib
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import platformdirs

from engine.store.text import printable

#: What the file may hold at its top level, with the type of each.
KNOWN_KEYS: Mapping[str, type] = {
    "theme": str,
    "mouse": bool,
    "runs_dir": str,
    "export_dir": str,
    "keys": dict,
}
_MOST_BYTES = 1 << 16
_MOST_SAID = 200
DEFAULT_THEME = "textual-dark"


@dataclass(frozen=True)
class Config:
    """Settings of the app.

    Attributes:
        theme: name of a Textual theme; checked when the app knows its themes.
        mouse: whether the mouse is used.
        runs_dir: folder of runs, None for the default.
        export_dir: folder that exported CSV files go to, None for the working directory.
        keys: key of each remapped binding, by binding id.
        path: the file that was read, or would have been.
        problems: one sentence for each entry that was not understood.
    """

    theme: str = DEFAULT_THEME
    mouse: bool = True
    runs_dir: Path | None = None
    export_dir: Path | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    path: Path | None = None
    problems: tuple[str, ...] = ()


def config_path(environ: Mapping[str, str] | None = None) -> Path:
    """Return the file of settings: $ORACLE_TUI_CONFIG, or one in the user's config folder."""
    named = (os.environ if environ is None else environ).get("ORACLE_TUI_CONFIG")
    if named:
        return Path(named).expanduser()
    return platformdirs.user_config_path("oracle-tui") / "config.toml"


def nearest(name: str, known: list[str]) -> str:
    """Return `` (did you mean X?)`` for the nearest known name, or nothing."""
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def load_config(
    environ: Mapping[str, str] | None = None,
    *,
    theme: str | None = None,
    mouse: bool | None = None,
    runs_dir: Path | None = None,
) -> Config:
    """Read the settings. Flags (the keywords) win over the environment, that over the file.

    Never raises for what a person wrote: entries that are not understood become problems.
    """
    environ = os.environ if environ is None else environ
    path = config_path(environ)
    config = _read_environment(_read_file(Config(path=path), path), environ)
    return replace(
        config,
        theme=theme or config.theme,
        mouse=config.mouse if mouse is None else mouse,
        runs_dir=runs_dir or config.runs_dir,
    )


def _read_file(config: Config, path: Path) -> Config:
    try:
        data = tomllib.loads(_read_text(path))
    except FileNotFoundError:
        return config
    except (OSError, UnicodeDecodeError) as error:
        return replace(config, problems=(printable(f"{path} cannot be read: {error}."),))
    except (ValueError, RecursionError) as error:
        said = str(error)[:_MOST_SAID]
        return replace(config, problems=(printable(f"{path} is not valid TOML: {said}."),))
    problems: list[str] = []
    values: dict[str, Any] = {}
    entries: dict[str, Any] = data
    for key, value in entries.items():
        kind = KNOWN_KEYS.get(key)
        if kind is None:
            problems.append(f"{path}: unknown key {_said(key)}{nearest(key, list(KNOWN_KEYS))}.")
        elif not _is_a(value, kind):
            problems.append(f"{path}: {key} must be {_kind_name(kind)}, not {_said(value)}.")
        elif key in ("runs_dir", "export_dir"):
            try:
                values[key] = Path(value).expanduser()
            except RuntimeError:
                problems.append(f"{path}: {key} names a home that is not there: {_said(value)}.")
            if "\0" in value:
                values.pop(key, None)
                problems.append(f"{path}: {key} is no folder's name: {_said(value)}.")
        elif key == "keys":
            values[key] = _read_keys(value, path, problems)
        else:
            values[key] = value
    return replace(config, **values, problems=tuple(map(printable, problems)))


def _read_text(path: Path) -> str:
    """Read a regular file of a sane size; a FIFO cannot make this wait."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is not a regular file")
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise OSError(f"it is longer than {_MOST_BYTES} bytes")
    return data.decode("utf-8")


def _said(value: object) -> str:
    return repr(value)[:_MOST_SAID]


def _read_keys(table: Mapping[str, Any], path: Path, problems: list[str]) -> dict[str, str]:
    """Flatten [keys] (TOML reads ``runs.new`` as a nested table) to binding id -> keys."""
    keys: dict[str, str] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            nested = _read_keys(value, path, problems)
            keys.update({f"{name}.{rest}": key for rest, key in nested.items()})
        elif isinstance(value, str) and value:
            keys[name] = value
        else:
            said = f"the key for {name[:_MOST_SAID]} must be text such as 'n', not {_said(value)}"
            problems.append(f"{path}: {said}.")
    return keys


def _read_environment(config: Config, environ: Mapping[str, str]) -> Config:
    theme = environ.get("ORACLE_TUI_THEME")
    if theme:
        config = replace(config, theme=theme)
    mouse = environ.get("ORACLE_TUI_MOUSE", "").strip().lower()
    if mouse in ("0", "no", "false", "off"):
        config = replace(config, mouse=False)
    elif mouse in ("1", "yes", "true", "on"):
        config = replace(config, mouse=True)
    elif mouse:
        problem = f"ORACLE_TUI_MOUSE must be 0 or 1, not {mouse!r}."
        config = replace(config, problems=(*config.problems, problem))
    runs = environ.get("ORACLE_TUI_RUNS")
    if runs:
        config = replace(config, runs_dir=Path(runs).expanduser())
    return config


def _is_a(value: Any, kind: type) -> bool:
    return isinstance(value, kind)


def _kind_name(kind: type) -> str:
    return {str: "text", bool: "true or false", dict: "a table"}[kind]
