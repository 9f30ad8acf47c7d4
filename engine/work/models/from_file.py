"""A person's own model, from a Python file."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from torch import nn

from engine.catalog import ModelInfo
from engine.described import digest_of, split_file
from engine.errors import UsageError
from engine.work.models.libraries import LibraryFamily
from engine.work.models.transformers import with_free_heads


class FileFamily(LibraryFamily):
    """What `FILE.py:NAME` names: a class or function that takes the number of classes."""

    def build(self, info: ModelInfo, classes: int) -> nn.Module:
        """Returns the network that the file's class or function makes.

        Raises:
            UsageError: The file has changed since it was looked into, or gives no network.
        """
        if info.digest and digest_of(_path_of(info)) != info.digest:
            raise UsageError(
                f"{_path_of(info)} has changed since this study was made; make a new study."
            )
        return made_by(named_in_file(info.source), info.source, classes)


def made_by(make: Any, source: str, classes: int) -> nn.Module:
    """Returns the network that a person's class or function makes; raises UsageError."""
    try:
        network = make(classes)
    except Exception as error:  # whatever a person's code raises
        raise UsageError(f"{source} could not build its model: {error!r}.") from error
    if not isinstance(network, nn.Module):
        raise UsageError(f"{source} gives no torch.nn.Module when called.")
    return with_free_heads(network)


def named_in_file(source: str) -> Any:
    """Returns what `FILE.py:NAME` names, by running the file; raises UsageError."""
    file = split_file(source)
    if file is None:
        raise UsageError(f"{source!r} names nothing in a file; write FILE.py:NAME.")
    path, name = file
    digest = digest_of(path)
    module_name = f"_model_{digest}"
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise UsageError(f"{path} is no Python file.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # whatever a person's code raises
            del sys.modules[module_name]
            raise UsageError(f"{path} cannot be run: {error!r}.") from error
    found = getattr(sys.modules[module_name], name, None)
    if not callable(found):
        raise UsageError(f"{path} has no class or function named {name!r}.")
    return found


def _path_of(info: ModelInfo) -> Any:
    file = split_file(info.source)
    if file is None:
        raise UsageError(f"{info.source!r} names no file.")
    return file[0]
