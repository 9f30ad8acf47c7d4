"""What a release says of itself is the same everywhere."""

import re
from pathlib import Path

import engine

ROOT = Path(__file__).parents[2]


def test_the_version_is_in_the_changelog_and_the_citation(oracle_tui):
    version = engine.__version__
    assert oracle_tui("--version").out == f"oracle-tui, version {version}\n"
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$", changes, re.MULTILINE)
    assert released[0] == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
