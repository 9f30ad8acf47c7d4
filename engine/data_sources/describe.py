"""What is known of a data set outside the catalog: looked at here, or by an engine of its own."""

from __future__ import annotations

import hashlib
import json
import os

from engine.data_sources.dialogue_file import describe_dialogues
from engine.data_sources.folder import describe_folder
from engine.data_sources.info import DatasetInfo
from engine.data_sources.names import DataName, parse
from engine.described import ask_engine, digest_of
from engine.errors import UsageError
from engine.folders import cache_folder, ensure_private

# Raise it when a change of code changes what is found in a person's data class.
_VERSION = 1

_known: dict[str, DatasetInfo] = {}


def look_up_data(name: str) -> DatasetInfo | None:
    """Returns what `describe_data` found earlier in this process, or None. Reads nothing."""
    return _known.get(str(parse(name)))


def describe_data(name: str) -> DatasetInfo:
    """Returns the facts of a data set that is written as those outside the catalog are.

    Folders and .npz files are looked at here. A person's class is run by another process, once
    for each content of its file; what it finds is kept in the cache.

    Raises:
        UsageError: It is not there, or is no data set.
    """
    parsed = parse(name)
    if parsed.kind == "npz":
        # numpy, which a person who asks for help need not wait for.
        from engine.data_sources.npz import describe_npz

        facts = describe_npz(parsed)
    elif parsed.kind == "llava":
        facts = describe_dialogues(parsed)
    elif parsed.kind == "file":
        facts = _describe_file(parsed)
    else:
        facts = describe_folder(parsed)
    _known[facts.name] = facts
    return facts


def _describe_file(name: DataName) -> DatasetInfo:
    assert name.path is not None
    key = f"{_VERSION}\n{name}\n{digest_of(name.path)}"
    digest = hashlib.blake2b(key.encode(), digest_size=10).hexdigest()
    path = cache_folder() / "models" / f"data-{digest}.json"
    try:
        return DatasetInfo.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, UsageError):
        pass  # not looked into yet, or the cache is damaged: look again
    answer = ask_engine(str(name), "describe-data")
    if "error" in answer:
        raise UsageError(str(answer["error"])[:1_000])
    try:
        facts = DatasetInfo.from_json(answer["dataset"])
    except (KeyError, TypeError) as error:
        raise UsageError(f"What was found in {name} cannot be read: {error!r}.") from error
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        ensure_private(path.parent)
        temporary.write_text(json.dumps(facts.to_json()), encoding="utf-8")
        os.replace(temporary, path)
    except (OSError, UsageError):  # a cache that cannot be written only costs time
        temporary.unlink(missing_ok=True)
    return facts
