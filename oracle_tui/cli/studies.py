"""`run` and `demo`: making a study and starting its engine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from engine.orders import Order, read_order
from engine.presets import QUICK
from oracle_tui.cli.exit_codes import ExitCode
from oracle_tui.cli.messages import say
from oracle_tui.cli.options import chosen_runs_folder, json_option, resume_hint, runs_dir_option
from oracle_tui.cli.output import print_json, print_line


@click.command()
@click.option("--preset", metavar="NAME", help="Begin with a preset; other options change it.")
@click.option("--model", metavar="M", help="Model; see `oracle-tui models`.")
@click.option("--dataset", metavar="D", help="Data set; see `oracle-tui datasets`.")
@click.option("--layers", metavar="L[,L]", help="Layers to prune, for example conv1,conv2.")
@click.option("--ratio", metavar="R", help="Share that is removed, or one for each layer.")
@click.option("--candidates", metavar="all|N", help="All candidates, or a sample of N.")
@click.option("--repeats", metavar="R", help="Retrainings of each candidate.")
@click.option("--epochs", metavar="E", help="Epochs of each retraining.")
@click.option("--pretrain-epochs", metavar="E", help="Epochs of the base network.")
@click.option("--seed", metavar="S", help="Every random number follows from it.")
@click.option("--device", metavar="auto|cpu|cuda[:i]", default="auto", help="Where it runs.")
@click.option("--wiring", metavar="correct|released|both", help="How the next layer is slimmed.")
@click.option("--scores", metavar="S[,S]|all", help="What is measured; see `oracle-tui scores`.")
@click.option(
    "--criterion",
    metavar="FILE.py",
    multiple=True,
    help="Measure a score of your own, named as the file; may be given several times.",
)
@click.option(
    "--search",
    metavar="greedy|swap[,...]|l1|none",
    help="Look for a lower loss than the sample's; each adds its pick as a candidate.",
)
@click.option(
    "--recipe",
    metavar="KEY=VALUE[,...]",
    help="Retrain otherwise: lr, drops, schedule, warmup, optimizer, momentum, weight_decay, "
    "batch_size, label_smoothing, mixup, cutmix, clip, ema; see docs/reference/recipes.md.",
)
@click.option("--pretrain-recipe", metavar="KEY=VALUE[,...]", help="The same for the base network.")
@click.option(
    "--weights",
    metavar="FILE|pretrained[:TAG]",
    help="Prune this network: a state_dict or safetensors, or the library's own weights.",
)
@click.option("--tune", is_flag=True, help="First train it on, by the pretraining recipe.")
@click.option("--granularity", metavar="filters|weights", help="What is pruned, and stays so.")
@click.option(
    "--scope", metavar="layer|global", help="Of weights: the ratio of each layer, or all."
)
@click.option("--precision", metavar="float32|bf16", help="What the retraining computes in.")
@click.option(
    "--tuning",
    metavar="full|lora=RANK[,...]",
    help="What of a vision-language model is trained; docs/how-to/vision-language.md.",
)
@click.option(
    "--executor",
    metavar="inline|processes[:N]|ray[:ADDRESS]",
    default="inline",
    help="Who retrains the candidates; no number depends on it.",
)
@click.option("--shard", metavar="I/N", help="Only every N-th candidate; see `oracle-tui merge`.")
@click.option("--detach", is_flag=True, help="Start the engine and return at once.")
@click.option("--dry-run", is_flag=True, help="Only measure what it would cost here.")
@json_option
@runs_dir_option
def run(
    preset: str | None,
    device: str,
    criterion: tuple[str, ...],
    executor: str,
    shard: str | None,
    detach: bool,
    dry_run: bool,
    tune: bool,
    as_json: bool,
    **entries: str | None,
) -> ExitCode:
    """Run a study without the app: progress on stderr, the run's id on stdout.

    A preset that is a set of studies runs them one after another.
    """
    given = {"preset": preset, **entries, "tune": "yes" if tune else None}
    order = read_order(
        {name: [value] for name, value in given.items() if value is not None},
        device=device,
        executor=executor,
        shard=shard,
        criteria=criterion,
    )
    if dry_run:
        from oracle_tui.cli import costing

        return costing.dry_run(order.studies, order.device, as_json=as_json)
    return _run(order, detach=detach, as_json=as_json)


@click.command()
@runs_dir_option
def demo() -> int:
    """Run the quick preset, in the app where there is a terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return _run(Order((QUICK.specs,)), detach=False, as_json=False, picture=True)
    from engine.control import create_run, start_engine
    from oracle_tui.app import run_app

    folder = create_run(chosen_runs_folder(), QUICK.spec)
    start_engine(folder)
    no_mouse = click.get_current_context().find_root().params.get("no_mouse", False)
    return run_app(folder.parent, open_run=folder.name, mouse=not no_mouse)


def _run(order: Order, *, detach: bool, as_json: bool, picture: bool = False) -> ExitCode:
    from engine.control import start_engine

    folders = list(order.make(chosen_runs_folder()))
    if not as_json:
        for folder in folders:
            print_line(folder.name)
        sys.stdout.flush()
    if detach:
        start_engine(*folders)
        names = ", then on ".join(folder.name for folder in folders)
        say(f"The engine works on {names}; `oracle-tui` shows it live.")
        code = ExitCode.OK
    else:
        code = _follow_all(folders)
    if as_json:
        _print_summaries(folders)
    elif picture and code is ExitCode.OK:
        _print_picture(folders[0])
    return code


def _follow_all(folders: Sequence[Path]) -> ExitCode:
    """Works on one run after the other, for as long as each gets done."""
    from engine.control import start_engine
    from oracle_tui.cli.following import follow

    code = ExitCode.OK
    for place, folder in enumerate(folders):
        code = follow(folder, start_engine(folder))
        if code is not ExitCode.OK:
            for waiting in folders[place + 1 :]:
                say(f"{waiting.name} is queued; start it with `{resume_hint(waiting)}`.")
            break
    return code


def _print_summaries(folders: Sequence[Path]) -> None:
    """Prints the run's summary as one object, or a list of several runs'."""
    from oracle_tui.cli.summaries import run_summary

    summaries = [run_summary(folder) for folder in folders]
    print_json(summaries if len(summaries) > 1 else summaries[0])


def _print_picture(folder: Path) -> None:
    from oracle_tui.cli.picture import scatter_lines
    from oracle_tui.cli.summaries import run_summary, summary_lines

    for line in (*scatter_lines(folder), "", *summary_lines(run_summary(folder))):
        print_line(line)
