"""A run's summary, as the object that JSON output prints and as lines for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oracle_tui.cli.options import resume_hint
from oracle_tui.formats import DASH, p_value, percent, plain, signed

if TYPE_CHECKING:
    from engine.store.liveness import EngineLife

_WORKERS_SHOWN = 16


def run_summary(run: Path) -> dict[str, Any]:
    """Returns the summary of a run with the status a reader should believe, and its engine's life.

    Raises:
        RunFileError: It is not a run.
    """
    from engine.store.reader import RunReader
    from engine.summary import summarise_run

    reader = RunReader(run)
    life = life_of(run, reader.status)
    summary = summarise_run(reader.config, life.status, reader.rows)
    return {**summary, "message": reader.message, **life_columns(run, life)}


def run_findings(run: Path) -> dict[str, Any]:
    """Returns what may be said of a run beyond its summary: intervals, verdict, noise.

    Raises:
        RunFileError: It is not a run.
    """
    from engine.findings import findings_of, search_findings
    from engine.store.reader import RunReader

    reader = RunReader(run)
    return {
        **findings_of(reader.config, reader.status, reader.rows),
        "search": search_findings(reader.config, reader.rows),
    }


def life_of(run: Path, status: str) -> EngineLife:
    """Returns what can be told of a run's engine; none works on a bare run file."""
    from engine.store.liveness import EngineLife, HeartbeatClock, engine_life

    if not run.is_dir():
        return EngineLife("none", status)
    return engine_life(run, status, HeartbeatClock())


def believed_status(run: Path, status: str) -> str:
    """Returns the status in the run file, or `stalled` where its engine is gone."""
    return life_of(run, status).status


def life_columns(run: Path, life: EngineLife | None) -> dict[str, str]:
    """Returns the state of a run's engine, and one sentence on how to go on, "" where all is well.

    The engine is `none`, `alive`, `silent` (no sign of life for 30 s), `dead` or `remote`.
    """
    from oracle_tui.life import engine_sentence

    if life is None or not run.is_dir():
        return {"engine": "none", "hint": ""}
    go_on = resume_hint(run)
    sentence = engine_sentence(
        life, f"go on with `{go_on}`", f"take the run over with `{go_on} --takeover`"
    )
    return {"engine": life.state, "hint": sentence}


def _pruned(said: Mapping[str, Any]) -> str:
    where = f"{said['layers']} at {said['ratio']}"
    if said.get("granularity") == "weights":
        return f"{where} of the weights of {'all' if said['scope'] == 'global' else 'each'}"
    return f"{where}, wiring {said['wiring']}"


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """Returns a summary as aligned lines, every correlation with its n and p."""
    n = summary["n"]
    of_all = summary["candidates_in_all"]
    candidates = f"{summary['candidates']:,}"
    if of_all is not None and summary["candidates"] != of_all:
        candidates += f" of {of_all if isinstance(of_all, str) else f'{of_all:,}'}"
    said = {key: DASH if value is None else value for key, value in summary.items()}
    facts = [
        ("run", summary["id"]),
        ("status", f"{summary['status']}, {summary['n_done']:,} of {summary['n_total']:,} done"),
        ("model", f"{said['model']} on {said['dataset']}"),
        ("pruned", _pruned(said)),
        ("candidates", f"{candidates}, repeats {summary['repeats']}"),
        (
            "epochs",
            f"{said['epochs']} retraining, {said['pretrain_epochs']} pretraining, "
            f"seed {said['seed']}",
        ),
        ("base", f"test accuracy {plain(summary['base_test_acc'])}"),
        ("tau accuracy", _correlation(summary, "acc")),
        ("tau loss", _correlation(summary, "loss")),
        (
            "also",
            f"Spearman {signed(summary['spearman_acc'])}, Pearson "
            f"{signed(summary['pearson_acc'])} for accuracy (n {n:,})",
        ),
        (
            "anomalies",
            f"{percent(summary['anomaly_ratio_acc'])} of candidates above the oracle's accuracy, "
            f"{percent(summary['anomaly_ratio_loss'])} below its loss",
        ),
        ("oracle", _candidate(summary, "oracle")),
        ("best", _candidate(summary, "best")),
    ]
    if summary["origin"]:
        facts.insert(2, ("origin", summary["origin"]))
    facts += [(key, summary[key]) for key in ("message", "hint") if summary.get(key)]
    if summary["note"]:
        facts.append(("note", summary["note"]))
    return _aligned(facts)


def findings_lines(findings: Mapping[str, Any]) -> list[str]:
    """Returns the findings as aligned lines, after those of the summary."""
    live = _range(findings, "tau_acc_lower", "tau_acc_upper")
    facts = [
        ("interval", f"95 % of tau accuracy {live} live, pointwise"),
        (
            "anomaly range",
            f"{percent(findings['anomaly_acc_lowest'])} to "
            f"{percent(findings['anomaly_acc_highest'])} over the five lowest-loss candidates",
        ),
        ("verdict", findings["verdict_text"]),
    ]
    if findings["tau_acc_bootstrap_lower"] is not None:
        report = _range(findings, "tau_acc_bootstrap_lower", "tau_acc_bootstrap_upper")
        facts[0] = ("interval", f"{facts[0][1]}; {report} bootstrap")
    if findings["renamed_p_acc"] is not None:
        facts.append(
            (
                "p, renamed",
                f"{p_value(findings['renamed_p_acc'])}: in so many of {findings['renamings']:,} "
                "random renamings of the filters tau accuracy is as far from 0; the p above takes "
                "candidates that share filters for independent",
            )
        )
    if findings["oracle_rank_acc"] is not None:
        facts.append(
            (
                "regret",
                f"{plain(findings['oracle_regret_acc'])} of accuracy, the oracle's rank is "
                f"{findings['oracle_rank_acc']:,}; of the best {findings['top_k']} by score "
                f"{findings['top_shared']} are among the best {findings['top_k']}",
            )
        )
    if findings["l1_candidate"] is not None:
        facts.append(
            (
                "L1's choice",
                f"candidate {findings['l1_candidate']}, pruned train loss "
                f"{plain(findings['l1_pruned_train_loss'])}, test accuracy "
                f"{plain(findings['l1_test_acc'])}, rank {findings['l1_rank_acc'] or DASH}",
            )
        )
    facts.append(("noise", _noise(findings)))
    for found in findings["search"]:
        facts.append((f"search {found['method']}", _search(found)))
    if findings["paired_with"] is not None:
        facts.append(("other wiring", findings["paired_with"]))
    return _aligned(facts)


def _noise(findings: Mapping[str, Any]) -> str:
    if findings["noise_ceiling"] is None:
        return findings["noise_note"] or "not known yet"
    text = (
        f"repeats agree with tau {signed(findings['noise_between_repeats'], 2)}; no score can be "
        f"expected beyond {plain(findings['noise_ceiling'], 2)} "
        f"{_range(findings, 'noise_ceiling_lower', 'noise_ceiling_upper')}"
    )
    if findings["noise_free_tau_acc"] is not None:
        text += f"; without noise tau would be {signed(findings['noise_free_tau_acc'], 2)}"
    return f"{text} ({findings['noise_note']})" if findings["noise_note"] else text


def _search(found: Mapping[str, Any]) -> str:
    lower = found["lower_by"]
    compared = "not below" if lower is None or lower <= 0 else f"{plain(lower)} below"
    text = (
        f"lowest pruned train loss {plain(found['lowest_loss'])}, {compared} the best of "
        f"{found['sampled']} samples ({plain(found['best_of_sample_loss'])}); its pick is "
        f"candidate {found['candidate']}"
    )
    if found["test_acc"] is None:
        return text
    return f"{text}, test accuracy {plain(found['test_acc'])}, rank {found['rank']:,}"


def _range(record: Mapping[str, Any], lower: str, upper: str) -> str:
    return f"[{signed(record[lower], 2)}, {signed(record[upper], 2)}]"


def _aligned(facts: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{name:<15}{value}" for name, value in facts]


def worker_lines(run: Path) -> list[str]:
    """Returns a line on each worker that retrained candidates of a run, where several did."""
    from engine.store.reader import RunReader

    environment = RunReader(run).config.get("environment")
    workers = environment.get("workers") if isinstance(environment, dict) else None
    places = [one for one in workers or [] if isinstance(one, dict)]
    if len(places) < 2:
        return []
    lines = [
        f"{one.get('device')} on {one.get('host')}, process {one.get('pid')}"
        + (f", {one['gpu']}" if one.get("gpu") else "")
        for one in places[:_WORKERS_SHOWN]
    ]
    if len(places) > _WORKERS_SHOWN:
        lines.append(f"and {len(places) - _WORKERS_SHOWN} more")
    return [f"{'worker':<13}{line}" for line in lines]


def _correlation(summary: Mapping[str, Any], outcome: str) -> str:
    tau, p = summary[f"kendall_tau_{outcome}"], summary[f"kendall_p_{outcome}"]
    n = summary["n_loss" if outcome == "loss" else "n"]
    return f"{signed(tau)} (n {n:,}, p {p_value(p)})"


def _candidate(summary: Mapping[str, Any], name: str) -> str:
    candidate = summary[f"{name}_candidate"]
    if candidate is None:
        return "not known yet"
    loss = plain(summary[f"{name}_pruned_train_loss"])
    accuracy = plain(summary[f"{name}_test_acc"])
    return f"candidate {candidate}, pruned train loss {loss}, test accuracy {accuracy}"
