"""`models`, `datasets` and `presets`: what can be chosen."""

from __future__ import annotations

import click

from engine.catalog import DATASETS, MODELS
from engine.presets import PRESETS
from oracle_tui.cli.options import json_option
from oracle_tui.cli.output import print_json, print_table


@click.command()
@json_option
def models(as_json: bool) -> None:
    """List the models and their prunable layers."""
    if as_json:
        print_json(
            [
                {
                    "name": model.name,
                    "title": model.title,
                    "channels": model.channels,
                    "size": model.size,
                    "layers": [
                        {"name": layer.name, "filters": layer.filters} for layer in model.layers
                    ],
                    "pretrain": model.pretrain.to_json(),
                    "retrain": model.retrain.to_json(),
                }
                for model in MODELS.values()
            ]
        )
        return
    print_table(
        ("NAME", "INPUT", "LAYERS (FILTERS)", "RETRAINING"),
        [
            (
                model.name,
                f"{model.channels} x {model.size} x {model.size}",
                ", ".join(f"{layer.name} ({layer.filters})" for layer in model.layers),
                str(model.retrain),
            )
            for model in MODELS.values()
        ],
    )


@click.command()
@json_option
def datasets(as_json: bool) -> None:
    """List the data sets and where they come from."""
    if as_json:
        print_json(
            [
                {
                    "name": data.name,
                    "title": data.title,
                    "classes": data.classes,
                    "channels": data.channels,
                    "train_images": data.train_images,
                    "test_images": data.test_images,
                    "source": data.source,
                }
                for data in DATASETS.values()
            ]
        )
        return
    print_table(
        ("NAME", "CLASSES", "TRAIN", "TEST", "SOURCE"),
        [
            (
                data.name,
                str(data.classes),
                f"{data.train_images:,}",
                f"{data.test_images:,}",
                data.source,
            )
            for data in DATASETS.values()
        ],
    )


@click.command()
@json_option
def presets(as_json: bool) -> None:
    """List the studies that come ready to start."""
    if as_json:
        print_json(
            [
                {
                    "name": preset.name,
                    "title": preset.title,
                    "n_total": preset.spec.rows,
                    "spec": preset.spec.to_json(),
                }
                for preset in PRESETS.values()
            ]
        )
        return
    print_table(
        ("NAME", "CANDIDATES", "WHAT"),
        [(preset.name, preset.spec.space.formula(), preset.title) for preset in PRESETS.values()],
    )
