"""A person's own data set, from a class in a Python file."""

from __future__ import annotations

from engine.data_sources.arrays import Arrays, checked, facts_of
from engine.data_sources.info import DatasetInfo
from engine.data_sources.names import DataName, parse
from engine.errors import UsageError


def describe_class(name: str) -> DatasetInfo:
    """Returns the facts of what `FILE.py:NAME` names, by running it; raises UsageError."""
    parsed = parse(name)
    assert parsed.path is not None
    made = _made(parsed)
    arrays = _loaded(made, parsed)
    title = str(getattr(made, "title", parsed.attribute))[:60]
    facts = facts_of(arrays, str(parsed), title, f"the file {parsed.path}")
    told = facts.to_json()
    for field in ("mean", "std"):
        if hasattr(made, field):
            told[field] = list(getattr(made, field))
    told["augmented"] = bool(getattr(made, "augmented", False))
    return DatasetInfo.from_json(told)


def arrays_of_class(name: DataName) -> Arrays:
    """Returns the four arrays that a person's class loads, checked; raises UsageError."""
    return _loaded(_made(name), name)


def _made(name: DataName) -> object:
    # Importing it here keeps who only reads the catalog's sets from importing models.
    from engine.work.models.from_file import named_in_file

    make = named_in_file(f"{name.path}:{name.attribute}")
    try:
        made: object = make()
    except Exception as error:  # whatever a person's code raises
        raise UsageError(f"{name} could not be made: {error!r}.") from error
    if not callable(getattr(made, "load", None)):
        raise UsageError(f"{name} has no method load that returns the four arrays.")
    return made


def _loaded(made: object, name: DataName) -> Arrays:
    try:
        arrays = made.load()  # type: ignore[attr-defined]
    except Exception as error:  # whatever a person's code raises
        raise UsageError(f"{name} could not load its images: {error!r}.") from error
    if not isinstance(arrays, tuple | list):
        raise UsageError(f"The method load of {name} must return four arrays.")
    return checked(arrays, str(name))
