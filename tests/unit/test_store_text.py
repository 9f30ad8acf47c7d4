import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import RunFileError
from engine.store.documents import dump_document, parse_document
from engine.store.text import printable, printable_json


@given(st.text())
def test_printable_text_holds_no_control_character(text: str) -> None:
    shown = printable(text)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown)
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("tau τ ± é 日本", "tau τ ± é 日本"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\udcff", r"\udcff"),
        ("\x9b31m", r"\x9b31m"),
    ],
)
def test_what_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_keys_and_values_of_json_become_printable() -> None:
    assert printable_json({"a\x07": ["\x1b", 1, None]}) == {r"a\x07": [r"\x1b", 1, None]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"a":' + b"[" * 100_000,
        b'{"a":' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":"' + b"x" * 10_000 + b'"}',
    ],
)
def test_bad_documents_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(RunFileError, match=r"^the thing is") as caught:
        parse_document(data, "the thing", 300_000 if len(data) > 90_000 else 9_000)
    assert str(caught.value).isprintable()


def test_raw_document_keeps_its_text() -> None:
    assert parse_document(b'{"a":"x\\ny"}', "d", 100, raw=True) == {"a": "x\ny"}
    assert parse_document(b'{"a":"x\\ny"}', "d", 100) == {"a": r"x\ny"}


def test_numbers_that_are_not_finite_become_null() -> None:
    data = dump_document({"a": float("nan"), "b": [float("inf"), 1.5]})
    assert json.loads(data) == {"a": None, "b": [None, 1.5]}


def test_what_is_not_json_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="not a JSON document"):
        dump_document({"a": object()})
