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
from oracle_tui.cli.options import json_option
from oracle_tui.cli.output import print_json, print_line, print_table
from oracle_tui.formats import rounded


@click.command()
@click.argument("names", nargs=-1, metavar="[MODEL]...")
@json_option
def models(names: tuple[str, ...], as_json: bool) -> None:
    """List the models and their prunable layers.

    With names, only these; they may be of any model: timm:resnet26d, torchvision:alexnet,
    my_net.py:Net, or one at another input size, resnet18@64.
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


@click.command()
@click.argument("names", nargs=-1, metavar="[DATASET]...")
@json_option
def datasets(names: tuple[str, ...], as_json: bool) -> None:
    """List the data sets, and where each is looked for.

    With names, only these; they may be of your own: folder:/data/flowers, imagenet@classes=100,
    images.npz, my_data.py:Name.
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


@click.command()
@click.argument("prefix", default="")
@json_option
def presets(prefix: str, as_json: bool) -> None:
    """List the studies that come ready to start, what each costs here, and what some wait for.

    PREFIX lists only those whose names begin with it: quick, paper, complexity.
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
