"""Changes of a recipe as a person types them: `optimiser=adamw,lr=1e-3,schedule=cosine`."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import Any

from engine.errors import UsageError
from engine.recipe import FIELDS, Recipe

_SHORT = {"lr": "learning_rate", "wd": "weight_decay", "optimizer": "optimiser"}
_TEXTS = ("optimiser", "schedule")
_WHOLE = ("batch_size", "warmup")
_EPOCHS = "The number of epochs has a flag of its own: --epochs, or --pretrain-epochs."


def changed(recipe: Recipe, text: str) -> Recipe:
    """Returns a recipe with the changes that a text names, `KEY=VALUE` between commas.

    Another learning rate moves the drops along; a cosine schedule leaves them out. Drops are
    written `drops=20:1e-4/25:1e-5`, and none of them `drops=none`.

    Raises:
        UsageError: A key is unknown or named twice, a value cannot be read, or the result is no
            recipe.
    """
    changes: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, sign, value = (piece.strip() for piece in part.partition("="))
        name = _SHORT.get(key.lower(), key.lower().replace("-", "_"))
        if name == "epochs":
            raise UsageError(_EPOCHS)
        if name not in FIELDS:
            known = [*(field for field in FIELDS if field != "epochs"), *_SHORT]
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}."
            raise UsageError(f"A recipe has nothing named {key!r}; {hint}")
        if not sign or not value:
            raise UsageError(f"Write {name}=VALUE in a recipe, not {part!r}.")
        if name in changes:
            raise UsageError(f"{name} is named twice in {text!r}.")
        changes[name] = _value(name, value)
    if "drops" not in changes:
        if changes.get("schedule") == "cosine":
            changes["drops"] = ()
        elif "learning_rate" in changes:
            by = changes["learning_rate"] / recipe.learning_rate
            changes["drops"] = tuple((e, float(f"{rate * by:.12g}")) for e, rate in recipe.drops)
    return replace(recipe, **changes)


def _value(name: str, text: str) -> Any:
    if name in _TEXTS:
        return text.lower()
    try:
        if name == "drops":
            if text.lower() == "none":
                return ()
            pairs = (pair.split(":") for pair in text.split("/"))
            return tuple((int(epoch), float(rate)) for epoch, rate in pairs)
        return int(text) if name in _WHOLE else float(text)
    except ValueError:
        kinds = {"drops": "EPOCH:RATE pairs such as 20:1e-4/25:1e-5"}
        kind = kinds.get(name, "a whole number" if name in _WHOLE else "a number")
        raise UsageError(f"{name} of a recipe must be {kind}, not {text!r}.") from None
