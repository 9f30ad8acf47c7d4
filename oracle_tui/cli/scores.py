"""`scores`: what can be measured of a candidate before it is retrained."""

from __future__ import annotations

from engine.own_scores import installed_scores
from engine.scores import BASE_SCORES, SCORES
from oracle_tui.cli.manual import command
from oracle_tui.cli.options import json_option
from oracle_tui.cli.output import print_json, print_table


@command(
    examples=(
        ("oracle-tui scores", "What `run --scores` takes."),
        ("oracle-tui scores --json", "The same for a program."),
    )
)
@json_option
def scores(as_json: bool) -> None:
    """List what can be measured of a candidate before retraining.

    Ours, and those that installed packages offer. GOOD IS says which way a score points, FROM
    what it is computed from.
    """
    ours = [
        {
            "name": info.name,
            "title": info.title,
            "low_is_good": info.low_is_good,
            "needs": info.needs,
            "needs_batchnorm": info.needs_batchnorm,
            "always": info.name in BASE_SCORES,
            "package": None,
        }
        for info in SCORES.values()
    ]
    # Which way another's score points is known once its code has run.
    others = [
        {
            "name": name,
            "title": name,
            "low_is_good": None,
            "needs": "",
            "needs_batchnorm": False,
            "always": False,
            "package": point.dist.name if point.dist else point.value,
        }
        for name, point in installed_scores().items()
    ]
    if as_json:
        print_json([*ours, *others])
        return
    print_table(
        ("NAME", "GOOD IS", "WHAT", "FROM"),
        [
            (
                str(score["name"]),
                _direction(score["low_is_good"]),
                str(score["title"]),
                f"package {score['package']}" if score["package"] else str(score["needs"]),
            )
            for score in (*ours, *others)
        ],
    )


def _direction(low_is_good: object) -> str:
    return "?" if low_is_good is None else "low" if low_is_good else "high"
