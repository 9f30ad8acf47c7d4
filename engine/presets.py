"""Named studies that come ready to start."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from engine.errors import UsageError
from engine.recipe import LENET_PRETRAIN, LENET_RETRAIN
from engine.spec import StudySpec


@dataclass(frozen=True, slots=True)
class Preset:
    """A spec with a name and a line that says what it is for."""

    name: str
    title: str
    spec: StudySpec


QUICK = Preset(
    "quick",
    "All 45 candidates of LeNet5-Mini's conv1 at .2 on 5,000 digits, short schedules",
    StudySpec(
        model="lenet5-mini",
        dataset="mnist-5k",
        layers=("conv1",),
        ratios=(0.2,),
        candidates=None,
        repeats=1,
        pretrain=LENET_PRETRAIN.lasting(15),
        retrain=LENET_RETRAIN.lasting(6),
    ),
)

PRESETS: Mapping[str, Preset] = {preset.name: preset for preset in (QUICK,)}


def find_preset(name: str) -> Preset:
    """Returns the preset of that name; raises UsageError that suggests the nearest."""
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(name, list(PRESETS), n=1)
    hint = f"did you mean {near[0]}?" if near else "see `oracle-tui presets`."
    raise UsageError(f"There is no preset named {name!r}; {hint}")
