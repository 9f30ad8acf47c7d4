"""Keys out of what a terminal sends: esc is never swallowed by the key after it."""

from __future__ import annotations

import pytest
from textual import events

from oracle_tui.key_parser import KeyParser


def keys(*reads: str) -> list[str]:
    parser = KeyParser()
    return [
        event.key for read in reads for event in parser.feed(read) if isinstance(event, events.Key)
    ]


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        ("\x1bq", ["escape", "q"]),
        ("\x1bG", ["escape", "G"]),
        ("\x1b7", ["escape", "7"]),
        ("\x1b?", ["escape", "question_mark"]),
        ("\x1b ", ["escape", "space"]),
        ("\x1b\r", ["escape", "enter"]),
        ("\x1b/d\r", ["escape", "slash", "d", "enter"]),
        ("\x1b\x1bq", ["escape", "escape", "q"]),
        ("\x1b\x1b[A", ["escape", "up"]),
        ("\x1b[Aq", ["up", "q"]),
    ],
)
def test_esc_and_a_key_read_together_are_two_keys(read, expected):
    assert keys(read) == expected
    assert keys(*read) == expected


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        ("\x1b[A", ["up"]),
        ("\x1bOA", ["up"]),
        ("\x1b[1;5A", ["ctrl+up"]),
        ("\x1b[15~", ["f5"]),
        ("\x1bOP", ["f1"]),
        ("\x1b\x7f", ["ctrl+w"]),
        ("\x1bb\x1bf", ["ctrl+left", "ctrl+right"]),
    ],
)
def test_sequences_are_what_they_were(read, expected):
    assert keys(read) == keys(*read) == expected


def test_a_lone_esc_is_a_key_when_its_time_is_up():
    parser = KeyParser()
    assert list(parser.feed("\x1b")) == []
    parser._timeout_time = 0.0
    (event,) = parser.tick()
    assert isinstance(event, events.Key)
    assert event.key == "escape"


def test_pastes_and_mouse_events_pass():
    parser = KeyParser()
    paste, click = parser.feed("\x1b[200~a b\nc\x1b[201~\x1b[<0;10;4M")
    assert isinstance(paste, events.Paste)
    assert paste.text == "a b\nc"
    assert isinstance(click, events.MouseDown)
    assert (click.x, click.y) == (9, 3)
