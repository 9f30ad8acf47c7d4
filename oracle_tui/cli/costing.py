"""`run --dry-run`: what a study would cost here, and whether it fits."""

from __future__ import annotations

from collections.abc import Sequence

from engine.cost import Cost, measured_cost
from engine.estimate import duration_text
from engine.spec import StudySpec
from oracle_tui.cli.exit_codes import ExitCode
from oracle_tui.cli.messages import say
from oracle_tui.cli.output import print_json, print_line


def dry_run(specs: Sequence[StudySpec], device: str, *, as_json: bool) -> ExitCode:
    """Measures each study for a few seconds and prints what it costs; no run is made.

    Returns:
        USAGE where one of them does not fit, else OK.
    """
    costs = [measured_cost(spec, device) for spec in specs]
    if as_json:
        records = [cost.to_json() for cost in costs]
        print_json(records if len(records) > 1 else records[0])
    else:
        for spec, cost in zip(specs, costs, strict=True):
            for line in _lines(spec, cost):
                print_line(line)
    problems = [cost.problem for cost in costs if cost.problem]
    for problem in problems:
        say(problem)
    return ExitCode.USAGE if problems else ExitCode.OK


def _lines(spec: StudySpec, cost: Cost) -> list[str]:
    (whole, slim), (weights, fewer) = cost.multiply_adds, cost.parameters
    memory = cost.memory
    time = "does not fit" if cost.seconds is None else f"about {duration_text(cost.seconds)}"
    return [
        f"study          {spec.model} on {spec.dataset}, {spec.layers_text} at {spec.ratio_text}",
        f"parameters     {weights:,} before pruning, {fewer:,} after",
        f"multiply-adds  {whole:,} an image before pruning, {slim:,} after",
        f"candidates     {cost.candidates:,}, {cost.retrainings:,} retrainings",
        f"time           {time} on {cost.device}, from a short measurement",
        f"memory         {_size(memory['one_candidate'])} for one candidate at a time, "
        f"{_size(memory['free'])} free on {cost.device}",
        f"  data         {_size(memory['data'])}",
        *(
            f"  {name:<12} weights {_size(part['weights'])}, gradients {_size(part['gradients'])}, "
            f"optimiser {_size(part['optimiser'])}, a batch {_size(part['activations'])}"
            for name, part in (("base network", memory["base"]), ("candidate", memory["candidate"]))
        ),
        f"  fits         {memory['largest_pack']:,} candidates at a time, at most",
    ]


def _size(count: int) -> str:
    if count >= 1e8:
        return f"{count / 1e9:,.2f} GB"
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"
