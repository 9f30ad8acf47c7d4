"""A model of an installed package, named by its entry point."""

from __future__ import annotations

from typing import Any

from torch import nn

from engine.catalog import ModelInfo
from engine.described import installed_model, release_of
from engine.errors import UsageError
from engine.work.models.from_file import made_by
from engine.work.models.libraries import LibraryFamily


class InstalledFamily(LibraryFamily):
    """What `installed:NAME` names: a class or function that takes the number of classes."""

    def build(self, info: ModelInfo, classes: int) -> nn.Module:
        """Returns the network that the package's class or function makes.

        Raises:
            UsageError: The package is not there, is another release, or gives no network.
        """
        if info.digest and release_of(installed_model(info.source)) != info.digest:
            raise UsageError(
                f"The package of {info.name} is another release than this study was made with; "
                "make a new study."
            )
        return made_by(loaded(info.source), info.name, classes)


def loaded(name: str) -> Any:
    """Returns the class or function of an entry point; raises UsageError."""
    point = installed_model(name)
    try:
        found = point.load()
    except Exception as error:  # whatever a package raises
        raise UsageError(f"The model {name} of {point.module} cannot be loaded: {error!r}.") from (
            error
        )
    if not callable(found):
        raise UsageError(f"{point.value} is no class or function that makes a model.")
    return found
