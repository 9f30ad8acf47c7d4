"""A study spelled out again as the entries that a person would type for it."""

from __future__ import annotations

from collections.abc import Sequence

from engine.entries import entries_of
from engine.recipe import FIELDS, Recipe
from engine.recipe_text import changed
from engine.scores import BASE_SCORES
from engine.spec import StudySpec
from engine.tuning import FULL

_SHORT = {"learning_rate": "lr", "optimiser": "optimizer"}


def spelled(spec: StudySpec) -> dict[str, str]:
    """Returns every entry of a study, the options among them; "" for what it does not have.

    A recipe is told by what it has other than the model's own.
    """
    info, weights = spec.model_info, spec.weights
    extra = [score for score in spec.scores if score not in BASE_SCORES and "@" not in score]
    return {
        **entries_of(spec),
        "scores": ",".join(extra),
        "search": ",".join(spec.search) or "none",
        "precision": spec.precision,
        "recipe": recipe_changes(spec.retrain, info.retrain),
        "pretrain_recipe": recipe_changes(spec.pretrain, info.pretrain),
        "weights": "" if weights is None else weights.source,
        "tune": "" if weights is None else "yes" if weights.tuned else "no",
        "granularity": spec.granularity,
        "scope": spec.scope if spec.masked else "",
        "tuning": "" if spec.tuning == FULL else str(spec.tuning),
    }


def differing(specs: Sequence[StudySpec]) -> list[dict[str, str]]:
    """Returns of each study the entries in which not all of them are alike."""
    every = [spelled(spec) for spec in specs]
    names = [name for name in every[0] if any(one[name] != every[0][name] for one in every)]
    return [{name: one[name] for name in names} for one in every]


def recipe_changes(recipe: Recipe, usual: Recipe) -> str:
    """Returns what makes one recipe of another over as many epochs, for `recipe_text.changed`."""
    wanted = [name for name in FIELDS if name != "epochs"]
    begun = usual.lasting(recipe.epochs)
    names = [name for name in wanted if getattr(recipe, name) != getattr(begun, name)]
    text = _written(recipe, names)
    # Another rate moves the drops along, and a cosine schedule leaves them out.
    if changed(begun, text) != recipe:
        text = _written(recipe, [*(name for name in names if name != "drops"), "drops"])
    elif "drops" in names:
        without = _written(recipe, [name for name in names if name != "drops"])
        text = without if changed(begun, without) == recipe else text
    return text


def _written(recipe: Recipe, names: Sequence[str]) -> str:
    return ",".join(f"{_SHORT.get(name, name)}={_value(recipe, name)}" for name in names)


def _value(recipe: Recipe, name: str) -> str:
    value = getattr(recipe, name)
    if name == "drops":
        return "/".join(f"{epoch}:{rate!r}" for epoch, rate in value) or "none"
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
