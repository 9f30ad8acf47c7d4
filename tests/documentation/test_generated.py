"""What is generated from the code is up to date, and what is listed by hand is complete."""

import re

from oracle_tui.app import binding_ids
from tests.documentation.generate import bindings, stale_pages
from tests.documentation.pages import DOCS, ROOT, name_of


def test_no_page_is_stale():
    stale = [name_of(page) for page in stale_pages()]
    assert not stale, f"{stale}: run `python -m tests.documentation.generate`"


def test_every_key_can_be_remapped_and_says_what_it_does():
    found = list(bindings())
    assert {binding.id for binding in found} == binding_ids()
    assert [binding.id for binding in found if not binding.tooltip] == []


def test_every_environment_variable_is_in_the_settings_page():
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for package in ("engine", "oracle_tui")
        for path in (ROOT / package).rglob("*.py")
    )
    used = set(re.findall(r"\bORACLE_TUI_[A-Z_]+\b", code))
    told = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(ORACLE_TUI_[A-Z_]+)` \|", told, re.MULTILINE)) == used


def test_pages_that_the_code_names_are_there():
    named = {
        page
        for package in ("engine", "oracle_tui", "tests", "benchmarks")
        for path in (ROOT / package).rglob("*.py")
        for page in re.findall(r"\bdocs/[\w/-]+\.md\b", path.read_text(encoding="utf-8"))
    }
    assert named
    assert [page for page in sorted(named) if not (ROOT / page).is_file()] == []
