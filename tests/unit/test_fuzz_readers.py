"""Whatever a stranger puts into a file, a reader answers with its value or with one sentence."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.check import check_run
from engine.errors import RunFileError, UsageError
from engine.presets import QUICK
from engine.recipe import Recipe
from engine.spec import StudySpec
from engine.store.documents import parse_document
from engine.store.journal import HEADER_BYTES, read_journal, scan
from engine.store.layout import RunLayout
from engine.store.listing import list_runs
from engine.store.live import read_live
from engine.store.liveness import HeartbeatClock, engine_life
from engine.store.lock import read_holder
from engine.store.reader import RunReader
from engine.store.records import decode_rows, decode_status
from engine.store.requests import pending_request
from engine.store.text import printable
from engine.store.writer import RunWriter
from oracle_tui.config import load_config
from tests.store_harness.cases import batch, config

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
SPEC = QUICK.spec.to_json()


def one_sentence(error: Exception) -> None:
    text = str(error)
    assert text
    assert "\n" not in text
    assert len(text) < 2_000


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("runs") / "case"
    RunWriter.create(folder, config())
    with RunWriter.open(folder) as writer:
        writer.set_status("running")
        for start in range(0, 30, 6):
            writer.append(*batch(start, 6))
    return (folder / "run.journal").read_bytes()


@given(data=st.binary(max_size=400), header=st.booleans())
def test_journal_of_noise(data: bytes, header: bool, journal: bytes) -> None:
    content = journal[:HEADER_BYTES] + data if header else data
    found = scan(content, HEADER_BYTES)
    assert found.good_end <= max(len(content), HEADER_BYTES)
    assert all(frame.end <= len(content) for frame in found.frames)


@given(
    edits=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 1 << 20),
)
def test_journal_with_bytes_changed_and_its_end_cut(
    tmp_path_factory: pytest.TempPathFactory,
    journal: bytes,
    edits: list[tuple[int, int]],
    cut: int,
) -> None:
    data = bytearray(journal[: len(journal) - cut % 64])
    for place, value in edits:
        data[place % len(data)] = value
    path = tmp_path_factory.mktemp("journal") / "run.journal"
    path.write_bytes(data)
    read = read_journal(path)
    assert read is not None
    whole = scan(journal, HEADER_BYTES).frames
    # Every frame that is believed is one that was written, bit for bit.
    known = {(frame.sequence, frame.payload) for frame in whole}
    assert {(frame.sequence, frame.payload) for frame in read[1].frames} <= known


@given(payload=st.binary(max_size=600), n_rows=st.integers(0, 1 << 32))
def test_frames_with_a_forged_checksum(payload: bytes, n_rows: int) -> None:
    import struct

    layout = RunLayout.of(config(), "x")
    for decode in (lambda: decode_rows(payload, n_rows, layout), lambda: decode_status(payload)):
        try:
            decode()
        except (ValueError, struct.error):
            continue


@given(data=st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
@example(data=b"[" * 100_000)
@example(data=b'{"a":' * 5_000 + b"1" + b"}" * 5_000)
@example(data=b'{"a": ' + b"9" * 5_000 + b"}")
@example(data=b'{"a": 1e999999}')
@example(data='{"\u202e": "\x1b[2J"}'.encode())
@example(data=b"\xef\xbb\xbf{}")
def test_small_documents(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    try:
        parsed = parse_document(data, "it", 1 << 20)
    except RunFileError as error:
        one_sentence(error)
    else:
        assert printable(json.dumps(parsed, ensure_ascii=False)) == json.dumps(
            parsed, ensure_ascii=False
        )
    folder = tmp_path_factory.mktemp("run")
    for name in ("live.json", "request.json", "lock"):
        (folder / name).write_bytes(data)
    live = read_live(folder)
    assert live is None or set(live) >= {"heartbeat", "status", "note", "provisional", "pid"}
    assert pending_request(folder) in (None, "pause", "resume", "stop")
    holder = read_holder(folder / "lock")
    assert holder is None or holder.state() in ("alive", "dead", "remote")
    engine_life(folder, "running", HeartbeatClock())


LIVE_KEYS = ("heartbeat", "status", "stage", "note", "rate", "provisional", "pid", "monotonic")


@given(
    live=st.dictionaries(st.sampled_from(LIVE_KEYS), JSON, max_size=4),
    lock=st.dictionaries(st.sampled_from(["host", "pid", "started", "boot"]), JSON, min_size=4),
)
def test_small_documents_with_the_right_keys(
    live: dict[str, Any], lock: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    (folder / "live.json").write_text(json.dumps(live))
    (folder / "lock").write_text(json.dumps(lock))
    found = read_live(folder)
    if found is not None:
        assert isinstance(found["note"], str)
        assert printable(found["note"]) == found["note"]
        assert all(len(record) == 5 for record in found["provisional"])
    life = engine_life(folder, "running", HeartbeatClock())
    assert life.state in ("alive", "dead", "remote", "silent")


RECIPE = QUICK.spec.retrain.to_json()


@given(
    field=st.sampled_from(sorted(SPEC)),
    value=JSON,
    extra=st.dictionaries(st.text(max_size=5), JSON, max_size=1),
)
@example("layers", ["conv1"] * 100_000, {})
@example("ratios", [0.5] * 100_000, {})
@example("candidates", 10**4000, {})
@example("seed", float("inf"), {})
@example("repeats", 10**30, {})
@example("model", "\x1b[31m", {})
@example("model", "x" * 1_000_000, {})
@example("retrain", {**RECIPE, "drops": [[i, 0.1] for i in range(100_000)]}, {})
@example("retrain", {**RECIPE, "epochs": 1e18}, {})
@example("pretrain", {**RECIPE, "batch_size": -1}, {})
@example("wiring", ["correct"], {})
def test_specs(field: str, value: Any, extra: dict[str, Any]) -> None:
    try:
        spec = StudySpec.from_json({**SPEC, field: value, **extra})
    except UsageError as error:
        one_sentence(error)
    else:
        assert StudySpec.from_json(spec.to_json()) == spec


@given(value=JSON)
def test_specs_that_are_anything(value: Any) -> None:
    for read in (StudySpec.from_json, Recipe.from_json):
        with pytest.raises(UsageError) as caught:
            read(value)
        one_sentence(caught.value)


@given(text=st.text(max_size=200) | st.binary(max_size=200))
@example(text="theme = 3\nkeys = 5\nmouse = 'x'\nruns_dir = []\n")
@example(text="keys = { a = { b = { c = 1 } } }")
@example(text="[" * 50_000)
@example(text="a" + ".a" * 2_000 + " = 1")
@example(text="a = " + "[" * 20_000)
@example(text="n = " + "9" * 10_000)
@example(text="d = 9999-99-99")
@example(text='runs_dir = "~nobody-of-that-name/x"')
@example(text='runs_dir = "a\\u0000b"')
@example(text='theme = "\\u001b[2J"')
def test_configs(text: str | bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    found = load_config({"ORACLE_TUI_CONFIG": str(path)})
    for problem in found.problems:
        assert printable(problem) == problem
        assert len(problem) < 2_000


def test_a_config_that_is_a_fifo_or_endless_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "big").write_bytes(b"#" * (4 << 20))
    for name in ("fifo", "big"):
        found = load_config({"ORACLE_TUI_CONFIG": str(tmp_path / name)})
        assert len(found.problems) == 1
        assert name in found.problems[0]


@settings(max_examples=60)
@given(
    edits=st.lists(st.tuples(st.integers(0, 1 << 24), st.integers(1, 255)), max_size=5),
    cut=st.integers(0, 200),
)
def test_run_files_with_bytes_changed(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int]], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    RunWriter.create(folder / "case", config(n_total=9))
    with RunWriter.open(folder / "case") as writer:
        writer.append(*batch(0, 9))
        writer.publish(final=True)
    path = folder / "case" / "run.h5"
    data = bytearray(path.read_bytes())
    for place, value in edits:
        data[place % len(data)] ^= value
    changed = bytes(data[: len(data) - cut])
    same = changed == path.read_bytes()
    path.write_bytes(changed)
    try:
        with RunReader(folder / "case") as reader:
            assert same
            assert len(reader.rows) == 9
    except RunFileError as error:
        assert not same
        one_sentence(error)
    (listing,) = list_runs(folder)
    assert listing.error is None or printable(listing.error) == listing.error
    for finding in check_run(folder / "case").findings:
        assert printable(finding.text) == finding.text


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    from engine.control import ERRORS_NAME, create_run, start_engine
    from engine.store.requests import send_request
    from engine.work.checkpoint import PackCheckpoint

    before = os.umask(umask)
    try:
        run = create_run(tmp_path / "runs", QUICK.spec, "cpu")
        with RunWriter.open(run) as writer:
            writer.beat({})
            writer.log("x")
            send_request(run, "stop")
            writer.publish()
            PackCheckpoint((0,), 0, 1, np.zeros((1, 2, 4)), {}).save(run, "x")
            list_runs(run.parent)
            engine = start_engine(run)  # refused: the run is held
            engine.wait(60)
    finally:
        os.umask(before)
    assert (run / ERRORS_NAME).read_text().count("\n") == 1
    paths = [run.parent, run, *run.iterdir(), *run.parent.glob(".listing*")]
    assert len(paths) >= 9
    for path in paths:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("name", ["engine.err", "request.json", "live.json", "engine.log"])
def test_nothing_is_written_through_a_link_of_a_stranger(tmp_path: Path, name: str) -> None:
    from engine.control import create_run, start_engine
    from engine.store.requests import send_request

    run = create_run(tmp_path / "runs", QUICK.spec, "cpu")
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (run / name).symlink_to(precious)
    with RunWriter.open(run) as writer:
        acts: tuple[Callable[[], object], ...] = (
            lambda: writer.beat({}),
            lambda: writer.log("x"),
            lambda: send_request(run, "stop"),
            lambda: start_engine(run).wait(60),
        )
        for act in acts:
            act()
    assert precious.read_text() == "mine"
