"""The flags of `run`, under headings. What is typed is read by `engine.entries`, not here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from oracle_tui.cli import completing
from oracle_tui.cli.manual import option

Command = TypeVar("Command", bound=Callable[..., Any])

_STUDIED = "What is studied"
_TRAINED = "How networks are trained"
_MEASURED = "What is measured before retraining"
_WHERE = "Where, and how much of it"


def study_options(command: Command) -> Command:
    """Adds every flag that describes a study, and those that say where it is worked on."""
    for add in reversed((*_STUDY, *_TRAINING, *_MEASURING, *_WORKING)):
        command = add(command)
    return command


_STUDY: Sequence[Callable[[Any], Any]] = (
    option(
        "--preset",
        group=_STUDIED,
        metavar="NAME",
        shell_complete=completing.presets,
        help="Begin with a study of `oracle-tui presets`; every other flag changes it. Without "
        "one the protocol's study of the model is run.",
    ),
    option(
        "--model",
        group=_STUDIED,
        metavar="M",
        shell_complete=completing.entry("model"),
        help="The network that is pruned: a name of `oracle-tui models`, timm:NAME, "
        "torchvision:NAME, hf:FOLDER or your own FILE.py:NAME; @PIXELS behind it is another input "
        "size, as in resnet18@64.  [default: lenet5-mini]",
    ),
    option(
        "--dataset",
        group=_STUDIED,
        metavar="D",
        shell_complete=completing.entry("dataset"),
        help="What it is trained on: a name of `oracle-tui datasets`, folder:PATH, FILE.npz or "
        "your own FILE.py:NAME.  [default: mnist-5k; fashion-qa for models that answer questions]",
    ),
    option(
        "--layers",
        group=_STUDIED,
        metavar="L[,L]",
        shell_complete=completing.entry("layers"),
        help="Layers to prune, by name or pattern; a ratio of its own may follow each: "
        "conv1,conv2 or 'layer*.conv1:0.5'.  [default: those of the protocol]",
    ),
    option(
        "--ratio",
        group=_STUDIED,
        metavar="R[,R]",
        help="The share of each layer's filters that goes, above 0 and below 1; one for all "
        "layers, or one for each.  [default: 0.2]",
    ),
    option(
        "--granularity",
        group=_STUDIED,
        metavar="filters|weights",
        shell_complete=completing.entry("granularity"),
        help="What goes: whole filters, which makes layers smaller, or single weights, which "
        "stay zero.  [default: filters]",
    ),
    option(
        "--scope",
        group=_STUDIED,
        metavar="layer|global",
        shell_complete=completing.entry("scope"),
        help="Of single weights: the ratio is that of each layer, or of all of them together.  "
        "[default: layer]",
    ),
    option(
        "--wiring",
        group=_STUDIED,
        metavar="correct|released|both",
        shell_complete=completing.entry("wiring"),
        help="Which input channels the next layer keeps: those of the filters that stay, or, as "
        "in the paper's released code, those of an L1 selection. both makes two runs that differ "
        "in nothing else.  [default: correct]",
    ),
    option(
        "--candidates",
        group=_STUDIED,
        metavar="all|N",
        shell_complete=completing.words("all"),
        help="All ways to prune, or a seeded random sample of N.  [default: all up to 5,000, "
        "else 1,000]",
    ),
    option(
        "--search",
        group=_STUDIED,
        metavar="S[,S]|none",
        shell_complete=completing.entry("search"),
        help="Look for a lower loss than the sample's best by greedy or swap, or add what L1-norm "
        "pruning chooses by l1; each adds its pick as a candidate.  [default: none; l1 for "
        "weights]",
    ),
    option(
        "--seed",
        group=_STUDIED,
        metavar="N",
        help="The whole number that every random number follows from; the same spec with the "
        "same seed gives the same results.  [default: 0]",
    ),
)

_TRAINING: Sequence[Callable[[Any], Any]] = (
    option(
        "--weights",
        group=_TRAINED,
        metavar="FILE|pretrained[:TAG]",
        shell_complete=completing.files,
        help="Prune this network instead of one that is trained here: a state_dict or "
        "safetensors file, or the weights that torchvision or timm offer.",
    ),
    option(
        "--tune",
        group=_TRAINED,
        is_flag=True,
        help="Train the given weights on, by the base network's recipe, before they are pruned.",
    ),
    option(
        "--pretrain-epochs",
        group=_TRAINED,
        metavar="N",
        help="Epochs of the base network; the one of best test accuracy is kept.  [default: the "
        "model's]",
    ),
    option(
        "--pretrain-recipe",
        group=_TRAINED,
        metavar="KEY=VALUE[,...]",
        help="What else changes in the base network's training; keys as for --recipe.",
    ),
    option(
        "--epochs",
        group=_TRAINED,
        metavar="N",
        help="Epochs of each candidate's retraining; the drops of the learning rate move along.  "
        "[default: the model's]",
    ),
    option(
        "--recipe",
        group=_TRAINED,
        metavar="KEY=VALUE[,...]",
        help="What else changes in the retraining: lr, drops, schedule, warmup (epochs), "
        "optimizer, momentum, weight_decay, batch_size (images), label_smoothing, mixup, cutmix, "
        "clip, ema. Explained in docs/reference/recipes.md.",
    ),
    option(
        "--repeats",
        group=_TRAINED,
        metavar="N",
        help="Retrainings of each candidate, each with a seed of its own, 1 to 1,000; several "
        "tell how much of the outcome is noise.  [default: 1]",
    ),
    option(
        "--tuning",
        group=_TRAINED,
        metavar="full|KEY[=N][,...]",
        shell_complete=completing.words("full", "lora=", "checkpointing"),
        help="Of a vision-language model: lora=RANK and alpha=SCALE train low-rank updates, "
        "checkpointing saves memory, scored=N measures losses on N dialogues.  [default: full]",
    ),
    option(
        "--precision",
        group=_TRAINED,
        metavar="float32|bf16",
        shell_complete=completing.entry("precision"),
        help="What the retraining computes in; scores and evaluations are float32 either way.  "
        "[default: float32]",
    ),
)

_MEASURING: Sequence[Callable[[Any], Any]] = (
    option(
        "--scores",
        group=_MEASURED,
        metavar="S[,S]|all",
        shell_complete=completing.entry("scores"),
        help="Scores of `oracle-tui scores`, beside pruned train loss and accuracy, which are "
        "always measured.  [default: these two]",
    ),
    option(
        "--criterion",
        group=_MEASURED,
        metavar="FILE.py",
        multiple=True,
        shell_complete=completing.files,
        help="A file that defines score(subject, candidates): a score of your own, named as the "
        "file. May be given several times.",
    ),
)

_WORKING: Sequence[Callable[[Any], Any]] = (
    option(
        "--device",
        group=_WHERE,
        metavar="auto|cpu|cuda[:I]",
        default="auto",
        shell_complete=completing.entry("device"),
        help="Where networks are trained; auto takes a free GPU, or else the CPU.  [default: auto]",
    ),
    option(
        "--executor",
        group=_WHERE,
        metavar="inline|processes[:N]|ray[:ADDRESS]",
        default="inline",
        shell_complete=completing.entry("executor"),
        help="Who retrains the candidates: the engine itself, N processes (one for each free GPU "
        "or core), or Ray. No number depends on it.  [default: inline]",
    ),
    option(
        "--shard",
        group=_WHERE,
        metavar="I/N",
        help="Study only every N-th candidate, I from 0 to N - 1; `oracle-tui merge` puts the "
        "parts together.",
    ),
    option(
        "--detach",
        group=_WHERE,
        is_flag=True,
        help="Start the engine, print the run's id and return; the app shows it live.",
    ),
    option(
        "--dry-run",
        group=_WHERE,
        is_flag=True,
        help="Make no run: measure for a few seconds what it would cost here in time, memory "
        "and multiply-adds.",
    ),
)
