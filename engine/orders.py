"""What a person wants studied, and where: one study, a set, or a grid of them, as runs to be made.

The command line, the file of a sweep and the form of the app all go through here, so that they
make the same runs and say the same sentence about the same mistake.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.devices import check_device
from engine.entries import FIELDS, OPTIONS, problems_in, read_entries
from engine.errors import UsageError
from engine.model_info import either
from engine.own_scores import CriterionFile, installed_scores, read_criterion
from engine.placement import check_executor
from engine.presets import find_preset
from engine.shards import Shard, read_shard
from engine.spec import StudySpec
from engine.study_rules import WIRINGS, SpecError

MAX_STUDIES = 10_000
#: What may have several values in a grid.
AXES = ("preset", *FIELDS, *OPTIONS)
BOTH = "both"


@dataclass(frozen=True, slots=True)
class Order:
    """Runs to be made.

    Attributes:
        groups: Each study once, as a group of one; or of two that differ in the wiring only.
        device: Where they compute.
        executor: Who retrains their candidates.
        shard: (i, n) where only a part of each is wanted.
        criteria: The files of a researcher's own scores.
    """

    groups: tuple[tuple[StudySpec, ...], ...]
    device: str = "auto"
    executor: str = "inline"
    shard: Shard | None = None
    criteria: tuple[CriterionFile, ...] = ()

    @property
    def studies(self) -> tuple[StudySpec, ...]:
        """The spec of every run, in the order they are made."""
        return tuple(itertools.chain.from_iterable(self.groups))

    def make(self, runs_folder: Path) -> Iterator[Path]:
        """Makes the runs one after the other and yields their folders.

        Raises:
            UsageError: The folder cannot be made or written, or a shard is empty.
        """
        from engine.control import create_pair, create_run

        for group in self.groups:
            if len(group) > 1:
                yield from create_pair(
                    runs_folder, group[0], self.device, self.criteria, executor=self.executor
                )
            else:
                yield create_run(
                    runs_folder,
                    group[0],
                    self.device,
                    self.criteria,
                    executor=self.executor,
                    shard=self.shard,
                )

    def enqueue(self, runs_folder: Path) -> Iterator[str]:
        """Makes the runs and puts each at the end of the folder's queue; yields their names.

        One by one: what was made before a full disk is in the queue.

        Raises:
            UsageError: As in `make`, or the queue cannot be written.
        """
        from engine.waiting import RunQueue

        for run in self.make(runs_folder):
            RunQueue(runs_folder).add([run.name])
            yield run.name


def read_order(
    axes: Mapping[str, Sequence[str]],
    *,
    device: str = "auto",
    executor: str = "inline",
    shard: str | None = None,
    criteria: Sequence[str] = (),
) -> Order:
    """Returns the runs that the entries ask for: one for each combination of their values.

    Args:
        axes: The values of each entry by its name in `AXES`; the last entry changes fastest. What
            is missing or empty comes from the preset, or else from the protocol.
        device: Where they compute.
        executor: Who retrains their candidates.
        shard: `i/n` for a part of each; None for the whole.
        criteria: Files of own scores, to be measured beside the others.

    Raises:
        SpecError: Something is wrong; its `field` says which entry, its text says why.
    """
    order, problems = judge_order(
        axes, device=device, executor=executor, shard=shard, criteria=criteria
    )
    if order is None:
        field, sentence = next(iter(problems.items()))
        raise SpecError(field, sentence)
    return order


def judge_order(
    axes: Mapping[str, Sequence[str]],
    *,
    device: str = "auto",
    executor: str = "inline",
    shard: str | None = None,
    criteria: Sequence[str] = (),
) -> tuple[Order | None, dict[str, str]]:
    """Returns the order, or None and one sentence for each wrong entry; arguments as `read_order`.

    Of a grid, only the first study that cannot be is told.
    """
    problems: dict[str, str] = {}
    files = _files(criteria, problems)
    for field, check, text in (
        ("device", check_device, device),
        ("executor", check_executor, executor),
    ):
        try:
            check(text)
        except UsageError as error:
            problems[field] = str(error)
    part: Shard | None = None
    try:
        part = None if shard is None else read_shard(shard)
    except UsageError as error:
        problems["shard"] = str(error)
    groups = _groups(axes, files, problems)
    if part and any(len(group) > 1 for group in groups):
        problems.setdefault(
            "shard",
            "A shard is of one wiring; run the shards of each wiring by themselves.",
        )
    if problems:
        return None, problems
    place = check_device(device), check_executor(executor)
    return Order(groups, *place, part, tuple(files)), {}


def _files(criteria: Sequence[str], problems: dict[str, str]) -> list[CriterionFile]:
    files: dict[str, CriterionFile] = {}
    try:
        for path in criteria:
            file = read_criterion(Path(path).expanduser())
            first = files.setdefault(file.name, file)
            if first.digest != file.digest:
                raise UsageError(
                    f"{first.path} and {file.path} would both be the score {file.name}; rename one."
                )
    except UsageError as error:
        problems["criterion"] = str(error)
        return []
    return list(files.values())


def _groups(
    axes: Mapping[str, Sequence[str]], files: Sequence[CriterionFile], problems: dict[str, str]
) -> tuple[tuple[StudySpec, ...], ...]:
    """Returns the studies of the grid, each once; adds what is wrong with the first wrong one."""
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > MAX_STUDIES:
        longest = max(axes, key=lambda key: len(axes[key]))
        sentence = f"The sweep has {count:,} studies; at most {MAX_STUDIES:,} are possible."
        problems.setdefault(longest, sentence)
        return ()
    own = [*installed_scores(), *(file.score for file in files)]
    several = [key for key, values in axes.items() if len(values) > 1]
    groups: dict[tuple[StudySpec, ...], None] = {}
    for point in itertools.product(*axes.values()):
        entries = dict(zip(axes, point, strict=True))
        told = _read_point(entries, files, own, groups)
        if told:
            where = ", ".join(f"{key} {entries[key]}" for key in several)
            for field, sentence in told.items():
                whole = f"The study with {where} cannot be: {sentence}" if where else sentence
                problems.setdefault(field, whole)
            break
    return tuple(groups)


def _read_point(
    entries: Mapping[str, str],
    files: Sequence[CriterionFile],
    own: Sequence[str],
    groups: dict[tuple[StudySpec, ...], None],
) -> dict[str, str]:
    """Adds the studies at one point of the grid; returns what is wrong with them by field."""
    named = entries.get("preset")
    try:
        # A preset may be a set of studies, and then each of them is at this point of the grid.
        singles = [None] if named is None else list(find_preset(named.strip()).each())
    except UsageError as error:
        return {"preset": str(error)}
    wiring = entries.get("wiring", "").strip().lower()
    both = wiring == BOTH
    for single in singles:
        spelled = {key: entries.get(key) for key in (*FIELDS, *OPTIONS)}
        crossed = wiring not in ("", *WIRINGS, BOTH)
        if both or crossed:
            spelled["wiring"] = WIRINGS[0]
        if files:
            # Whoever names a file wants it measured, beside what else is asked for.
            asked = spelled["scores"] or ",".join(single.spec.scores if single else ())
            spelled["scores"] = ",".join([asked, *(file.score for file in files)])
        if crossed:  # a spec has one wiring, and so its own sentence would not name both
            said = f"wiring is {either((*WIRINGS, BOTH))}, not {entries['wiring']!r}."
            return problems_in(spelled, single, own) | {"wiring": said}
        try:
            spec = read_entries(spelled, single, own)
        except UsageError as error:
            field = getattr(error, "field", "")
            return problems_in(spelled, single, own) or {field: str(error)}
        group = tuple(spec.with_(wiring=wiring) for wiring in WIRINGS) if both else (spec,)
        groups[group] = None
    return {}
