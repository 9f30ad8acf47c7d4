"""The searches' picks: found beside the sample, and candidates of the run from then on."""

from __future__ import annotations

import time
from collections.abc import Container, Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.masks import MaskSpace
from engine.space import CandidateSpace
from engine.spec import StudySpec
from engine.store.layout import Rows
from engine.store.writer import RunWriter
from engine.work.bench import Bench
from engine.work.search import Found, Losses, Pruned, greedy_removal, swap_search
from engine.work.session import Session


def with_picks(bench: Bench, writer: RunWriter, session: Session) -> Bench:
    """Returns the bench with the picks of the study's searches; searches where that is not done.

    A pick is the candidate of lowest loss that a search saw and that the run has not already (where
    it saw none, the first in order of filters). Its id comes after the sample's. The run's config
    records it, and how the lowest loss seen compares with the lowest of the sample.
    """
    spec = bench.spec
    recorded: list[dict[str, Any]] = list(writer.config.get("search") or [])
    if [one["method"] for one in recorded] != list(spec.search):
        recorded = _search(bench, writer, session)
        writer.config = {**writer.config, "search": recorded}
        # The config is durable only in the published file, and the picks must not change.
        session.keep(writer.publish)
    picks = tuple(tuple(tuple(layer) for layer in one["pruned"]) for one in recorded)
    return replace(bench, picks=picks)


def _search(bench: Bench, writer: RunWriter, session: Session) -> list[dict[str, Any]]:
    spec, space = bench.spec, bench.spec.space
    if isinstance(space, MaskSpace):
        return [_magnitude_record(bench, writer, session)]
    best, best_loss = _best_of_sample(spec, writer.rows)
    have: dict[Pruned, int] = {space[c]: c for c in range(len(space))}
    records: list[dict[str, Any]] = []
    for method in spec.search:
        session.say(note=f"searching for a lower loss: {method}")
        began = time.monotonic()

        def losses(some: Sequence[Pruned]) -> NDArray[np.float64]:
            return bench.score(some, lambda done: session.checkpoint()).loss

        found: Found
        if method == "l1":
            choice: Pruned = tuple(tuple(layer) for layer in bench.l1_choice())
            found = Found(((choice, float(losses([choice])[0])),), 1)
        elif method == "greedy":
            found = greedy_removal(space.filters, space.pruned, losses, spec.seed)
        else:
            found = swap_search(space.filters, space[best], losses, spec.seed)
        lowest, lowest_loss = found.candidates[0]
        fresh = ((c, value) for c, value in found.candidates if c not in have)
        pick, loss = next(fresh, None) or _any_other(space, have, losses)
        record = {
            "method": method,
            "candidate": len(space) + len(records),
            "pruned": [list(layer) for layer in pick],
            "pruned_train_loss": loss,
            "lowest_loss": lowest_loss,
            "lowest_is_candidate": have.get(lowest, len(space) + len(records)),
            "sampled": len(space),
            "best_of_sample": best,
            "best_of_sample_loss": best_loss,
            "lower_by": best_loss - lowest_loss,
            "evaluated": found.evaluated,
            "seconds": round(time.monotonic() - began, 3),
        }
        have[pick] = len(space) + len(records)
        records.append(record)
        writer.log(
            f"{method}: lowest loss {lowest_loss:.6g}, best of {len(space):,} samples "
            f"{best_loss:.6g}; {found.evaluated:,} networks, {record['seconds']} s"
        )
    session.say(note="")
    return records


def _magnitude_record(bench: Bench, writer: RunWriter, session: Session) -> dict[str, Any]:
    """Returns the weights of smallest magnitude as a pick, beside the best mask of the sample."""
    spec, began = bench.spec, time.monotonic()
    best, best_loss = _best_of_sample(spec, writer.rows)
    pick = bench.l1_choice()
    loss = float(bench.score([pick], lambda done: session.checkpoint()).loss[0])
    writer.log(
        f"smallest magnitudes: loss {loss:.6g}, best of {len(spec.space):,} masks {best_loss:.6g}"
    )
    return {
        "method": "l1",
        "candidate": len(spec.space),
        "pruned": [list(record) for record in pick],
        "pruned_train_loss": loss,
        "lowest_loss": loss,
        "lowest_is_candidate": len(spec.space),
        "sampled": len(spec.space),
        "best_of_sample": best,
        "best_of_sample_loss": best_loss,
        "lower_by": best_loss - loss,
        "evaluated": 1,
        "seconds": round(time.monotonic() - began, 3),
    }


def _any_other(
    space: CandidateSpace, have: Container[Pruned], losses: Losses
) -> tuple[Pruned, float]:
    """Returns the first candidate in order of filters that the run has not, and its loss."""
    layers = (combinations(range(n), k) for n, k in zip(space.filters, space.pruned, strict=True))
    other = next(one for one in product(*layers) if one not in have)
    return other, float(losses([other])[0])


def _best_of_sample(spec: StudySpec, rows: Rows) -> tuple[int, float]:
    """Returns the sampled candidate of lowest pruned train loss, and the loss; first on ties."""
    own = rows[(rows["repeat"] == 0) & (rows["candidate"] < len(spec.space))]
    losses = np.where(np.isfinite(own["pruned_train_loss"]), own["pruned_train_loss"], np.inf)
    place = int(np.argmin(losses))
    return int(own["candidate"][place]), float(losses[place])
