import os
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import RunFileError
from engine.store.journal import (
    FRAME_HEADER_BYTES,
    FRAME_MAGIC,
    HEADER_BYTES,
    FrameKind,
    Journal,
    JournalHeader,
    decode_header,
    encode_frame,
    read_journal,
    scan,
)
from engine.store.layout import RunLayout
from tests.store_harness.cases import config

LAYOUT = RunLayout.of(config(), "case")


def frames(payloads: list[bytes], first: int = 1) -> list[bytes]:
    return [
        encode_frame(FrameKind.ROWS, payload, sequence=first + i, n_rows=i, n_finished=2 * i)
        for i, payload in enumerate(payloads)
    ]


payload_lists = st.lists(st.binary(max_size=60), min_size=1, max_size=6)


@given(payload_lists)
def test_whole_frames_come_back_in_order(payloads: list[bytes]) -> None:
    found = scan(b"".join(frames(payloads)))
    assert [frame.payload for frame in found.frames] == payloads
    assert [frame.sequence for frame in found.frames] == list(range(1, len(payloads) + 1))
    assert [frame.n_finished for frame in found.frames] == [2 * i for i in range(len(payloads))]
    assert not found.damaged


@given(payload_lists, st.data())
def test_cut_anywhere_leaves_exactly_the_whole_frames_before_it(
    payloads: list[bytes], data: st.DataObject
) -> None:
    parts = frames(payloads)
    whole = b"".join(parts)
    cut = data.draw(st.integers(0, len(whole)))
    found = scan(whole[:cut])
    ends = [sum(map(len, parts[: i + 1])) for i in range(len(parts))]
    assert len(found.frames) == sum(end <= cut for end in ends)
    assert found.good_end == max([end for end in ends if end <= cut], default=0)
    assert not found.damaged


@given(payload_lists, st.data())
def test_flipped_bit_costs_one_frame_and_is_noticed(
    payloads: list[bytes], data: st.DataObject
) -> None:
    parts = frames(payloads)
    whole = bytearray(b"".join(parts))
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    found = scan(bytes(whole))
    hit = sum(sum(map(len, parts[: i + 1])) <= bit // 8 for i in range(len(parts)))
    expected = [payload for i, payload in enumerate(payloads) if i != hit]
    assert [frame.payload for frame in found.frames] == expected
    assert found.damaged


@given(st.binary(max_size=400), st.binary(max_size=40))
def test_arbitrary_bytes_never_yield_more_than_was_written(junk: bytes, payload: bytes) -> None:
    (frame,) = frames([payload])
    found = scan(junk.replace(FRAME_MAGIC, b"") + frame)
    assert [frame.payload for frame in found.frames] == [payload]
    assert scan(junk).frames == []


def test_many_false_frames_do_not_make_the_scan_slow() -> None:
    # Each header is sound and claims almost all of the rest; each payload checksum is wrong.
    fields = struct.Struct("<4sB3xIIQQI")
    n = 20_000
    headers = []
    for i in range(n):
        length = (n - i - 1) * FRAME_HEADER_BYTES
        header = fields.pack(FRAME_MAGIC, 1, length, 0, i + 1, 0, 12345)
        headers.append(header + struct.pack("<I", zlib.crc32(header)))
    found = scan(b"".join(headers))
    assert found.frames == []
    assert found.damaged


def test_frame_that_repeats_a_sequence_number_is_passed_over() -> None:
    first, second = frames([b"one", b"two"])
    found = scan(first + second + first)
    assert [frame.payload for frame in found.frames] == [b"one", b"two"]


def test_header_comes_back_and_a_damaged_one_does_not() -> None:
    header = JournalHeader.new(LAYOUT, 7)
    data = header.encode()
    assert len(data) == HEADER_BYTES
    assert decode_header(data) == header
    assert header.continues(LAYOUT)
    assert not header.continues(RunLayout.of(config("other"), "case"))
    for bit in range(8 * HEADER_BYTES):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        assert decode_header(bytes(changed)) is None
    assert decode_header(data[:-1]) is None


def test_newer_journal_is_named_as_such() -> None:
    data = bytearray(JournalHeader.new(LAYOUT, 0).encode())
    data[8] = 9
    data[-4:] = struct.pack("<I", zlib.crc32(data[:-4]))
    with pytest.raises(RunFileError, match="version 9"):
        decode_header(bytes(data))


def test_append_is_there_after_reopening_and_a_torn_tail_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    journal = Journal.start(path, LAYOUT, 4)
    assert journal.append(FrameKind.ROWS, b"a", n_rows=1) == 5
    assert journal.append(FrameKind.ROWS, b"b", n_rows=1) == 6
    journal.close()
    with path.open("ab") as file:
        file.write(encode_frame(FrameKind.ROWS, b"torn" * 100, sequence=7)[:-9])
    read = read_journal(path)
    assert read is not None
    assert [frame.payload for frame in read[1].frames] == [b"a", b"b"]
    journal = Journal.resume(path, read[1].good_end, 7)
    journal.append(FrameKind.ROWS, b"c")
    journal.close()
    read = read_journal(path)
    assert read is not None
    assert [frame.payload for frame in read[1].frames] == [b"a", b"b", b"c"]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("room", [0, 1, 30, 200])
def test_refused_write_is_cut_back_and_can_be_repeated(tmp_path: Path, room: int) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "run.journal"
    journal = Journal.start(path, LAYOUT, 0)
    journal.append(FrameKind.ROWS, b"before" * 50)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, hard))
    try:
        with pytest.raises(OSError, match="large"):
            journal.append(FrameKind.ROWS, b"refused" * 50)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert journal.append(FrameKind.ROWS, b"after") == 2
    journal.close()
    read = read_journal(path)
    assert read is not None
    assert [frame.payload for frame in read[1].frames] == [b"before" * 50, b"after"]


def test_failed_fsync_is_not_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.journal"
    journal = Journal.start(path, LAYOUT, 0)
    journal.append(FrameKind.ROWS, b"before")
    before = path.read_bytes()

    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="Input/output"):
            journal.append(FrameKind.ROWS, b"refused")
        assert path.read_bytes() == before
        # and where even the cut-back fails, the next frame still follows the last good one
        patch.setattr(os, "ftruncate", lambda *_: broken(0))
        with pytest.raises(OSError, match="Input/output"):
            journal.append(FrameKind.ROWS, b"refused, and longer than the next")
    journal.append(FrameKind.ROWS, b"after")
    journal.close()
    read = read_journal(path)
    assert read is not None
    assert [frame.payload for frame in read[1].frames] == [b"before", b"after"]
    assert not read[1].damaged
