"""`models`, `datasets` and `presets`: what can be chosen."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from engine.catalog import DATASETS, MODELS, DatasetInfo, ModelInfo
from engine.data_sources.names import is_outside
from engine.data_sources.places import found_at, places
from engine.entries import named_dataset, named_model
from engine.estimate import Estimate, duration_text, estimate_all
from engine.model_info import listed
from engine.presets import PRESETS, WAITING, Preset, find_preset
from oracle_tui.cli import completing
from oracle_tui.cli.manual import command
from oracle_tui.cli.options import json_option
from oracle_tui.cli.output import print_json, print_line, print_table
from oracle_tui.formats import rounded


@command(
    examples=(
        ("oracle-tui models", "The catalog, with sizes and layers."),
        ("oracle-tui models resnet20", "Every layer of one model, and what is pruned with it."),
        ("oracle-tui models timm:resnet26d --json", "Facts of a model outside the catalog."),
    )
)
@click.argument(
    "names",
    nargs=-1,
    metavar="[MODEL]...",
    shell_complete=completing.entry("model"),
    help="Only these: names of the catalog, timm:NAME, torchvision:NAME, hf:FOLDER or "
    "FILE.py:NAME, with @PIXELS for another input size.",
)
@json_option
def models(names: tuple[str, ...], as_json: bool) -> None:
    """List the models and their prunable layers.

    Parameters, multiply-adds of an image, filters of each layer and the usual retraining. One
    name alone lists its layers, and those that cannot be pruned with the reason. A model outside
    the catalog is built once to look into it.
    """
    chosen = [named_model(name) for name in names] if names else list(MODELS.values())
    if as_json:
        print_json([_model_record(model) for model in chosen])
        return
    if len(chosen) == 1:
        _print_layers(chosen[0])
        return
    print_table(
        ("NAME", "INPUT", "PARAMETERS", "MULTIPLY-ADDS", "LAYERS (FILTERS)", "RETRAINING"),
        [
            (
                model.name,
                f"{model.channels} x {model.size} x {model.size}",
                rounded(model.count({})[1]),
                rounded(model.count({})[0]),
                listed([f"{layer.name} ({layer.filters})" for layer in model.layers], 3),
                str(model.retrain),
            )
            for model in chosen
        ],
    )


def _model_record(model: ModelInfo) -> dict[str, Any]:
    multiply_adds, parameters = model.count({})
    return {
        "name": model.name,
        "title": model.title,
        "family": model.family,
        "channels": model.channels,
        "size": model.size,
        "classes": model.classes,
        "parameters": parameters,
        "multiply_adds": multiply_adds,
        "flops": 2 * multiply_adds,
        "layers": [
            {
                "name": layer.name,
                "filters": layer.filters,
                "kind": layer.kind,
                "pruned_with": list(layer.members),
            }
            for layer in model.layers
        ],
        "usual_layers": model.usual or model.layers[0].name,
        "not_prunable": dict(model.refused),
        "default_recipe": {"pretrain": str(model.pretrain), "retrain": str(model.retrain)},
        "pretrain": model.pretrain.to_json(),
        "retrain": model.retrain.to_json(),
    }


def _print_layers(model: ModelInfo) -> None:
    multiply_adds, parameters = model.count({})
    print_line(
        f"{model.title}: {model.channels} x {model.size} x {model.size}, "
        f"{parameters:,} parameters, {multiply_adds:,} multiply-adds an image"
    )
    print_table(
        ("LAYER", "HAS", "PRUNED TOGETHER WITH"),
        [
            (layer.name, f"{layer.filters} {layer.kind}", ", ".join(layer.members))
            for layer in model.layers
        ],
    )
    for layer, reason in model.refused:
        print_line(f"not {layer}: {reason}")


@command(
    examples=(
        ("oracle-tui datasets", "What there is, and whether it is on this machine."),
        ("oracle-tui datasets imagenet@classes=100,images=50 --json", "A part of ImageNet."),
    )
)
@click.argument(
    "names",
    nargs=-1,
    metavar="[DATASET]...",
    shell_complete=completing.entry("dataset"),
    help="Only these: names of the list, folder:PATH, FILE.npz or FILE.py:NAME; @classes=N and "
    "@images=N take a part.",
)
@json_option
def datasets(names: tuple[str, ...], as_json: bool) -> None:
    """List the data sets, and where each is looked for.

    HERE says whether a data set is on this machine; others are downloaded when a study first
    needs them. --json names every place that is looked at.
    """
    chosen = [named_dataset(name) for name in names] if names else list(DATASETS.values())
    if as_json:
        print_json([_dataset_record(data) for data in chosen])
        return
    print_table(
        ("NAME", "CLASSES", "IMAGES", "TRAIN", "TEST", "HERE", "SOURCE"),
        [
            (
                data.name,
                f"{data.classes:,}",
                f"{data.channels} x {data.size} x {data.size}" if data.size else "vary",
                f"{data.train_images:,}",
                f"{data.test_images:,}",
                "yes" if _found(data) else "no",
                data.source,
            )
            for data in chosen
        ],
    )


def _found(data: DatasetInfo) -> str | None:
    """Returns where a data set is on this machine, or None."""
    if is_outside(data.name):  # it was just looked at
        return data.source
    place = found_at(data.name)
    return None if place is None else str(place)


def _dataset_record(data: DatasetInfo) -> dict[str, Any]:
    outside, found = is_outside(data.name), _found(data)
    return {
        "name": data.name,
        "title": data.title,
        "classes": data.classes,
        "channels": data.channels,
        "size": data.size or None,
        "train_images": data.train_images,
        "test_images": data.test_images,
        "mean": list(data.mean),
        "std": list(data.std),
        "augmentation": data.augmentation,
        "source": data.source,
        "looked_for": [] if outside else [str(place) for place in places(data.name)],
        "here": found is not None,
        "found_at": found,
    }


@command(
    examples=(
        ("oracle-tui presets", "All presets, with what each costs here."),
        ("oracle-tui presets paper", "The published studies."),
        ("oracle-tui presets quick --json", "One preset with its whole spec."),
    )
)
@click.argument(
    "prefix",
    default="",
    shell_complete=completing.presets,
    help="Only those whose names begin so: quick, complexity, mllm, paper.",
)
@json_option
def presets(prefix: str, as_json: bool) -> None:
    """List the studies that come ready to start, with their cost here.

    The time is measured where this machine has run such a study, else guessed. Studies that wait
    for something, a data set say, are listed with it.
    """
    ready = [preset for name, preset in PRESETS.items() if name.startswith(prefix)]
    waiting = [entry for name, entry in WAITING.items() if name.startswith(prefix)]
    if not ready and not waiting:
        find_preset(prefix)
    costs = [estimate_all(preset.specs) for preset in ready]
    if as_json:
        print_json(
            [
                *map(_preset_record, ready, costs),
                *({**asdict(entry), "specs": [], "spec": None} for entry in waiting),
            ]
        )
        return
    print_table(
        ("NAME", "STUDIES", "RETRAININGS", "COST", "WHAT"),
        [
            *(
                (
                    preset.name,
                    str(len(preset.specs)),
                    f"{preset.rows:,}",
                    duration_text(cost.seconds),
                    preset.title,
                )
                for preset, cost in zip(ready, costs, strict=True)
            ),
            *((entry.name, "-", "-", "-", f"waits for {entry.waits_for}") for entry in waiting),
        ],
    )


def _preset_record(preset: Preset, cost: Estimate) -> dict[str, Any]:
    specs = [spec.to_json() for spec in preset.specs]
    return {
        "name": preset.name,
        "title": preset.title,
        "waits_for": None,
        "n_total": preset.rows,
        "estimate_seconds": cost.seconds,
        "estimate_measured": cost.measured,
        "spec": specs[0] if len(specs) == 1 else None,
        "specs": specs,
    }
