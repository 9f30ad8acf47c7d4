"""Reading the pages of the documentation: their blocks, headings, links and commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
#: Every page that a reader may open.
PAGES = tuple(
    sorted(
        [
            *DOCS.rglob("*.md"),
            *(path for path in ROOT.glob("*.md")),
            ROOT / "data" / "README.md",
        ]
    )
)

_FENCE = re.compile(
    r"^(?P<fence>```+)(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=fence)[ ]*$", re.M | re.S
)
_INDENTED = re.compile(r"(?:^|(?<=\n\n))(?:    [^\n]*\n+)+")
_INLINE = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.*?) *$", re.M)
#: What ends a command in a shell line.
_ENDS = frozenset({";", "|", "||", "&", "&&", ")", "(", ">", "<"})


@dataclass(frozen=True)
class Block:
    """A block of code: its page, the words after its fence, its text."""

    page: Path
    info: str
    text: str

    @property
    def language(self) -> str:
        """The first word after the fence."""
        return self.info.partition(" ")[0]


def name_of(page: Path) -> str:
    """Returns a page's path below the root, to name a test by."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """Returns the fenced blocks of a page, and the indented ones with no language."""
    text = page.read_text(encoding="utf-8")
    fenced = [Block(page, found["info"].strip(), found["text"]) for found in _FENCE.finditer(text)]
    rest = _FENCE.sub("", text)
    return fenced + [
        Block(page, "", re.sub(r"^    ", "", found[0], flags=re.M))
        for found in _INDENTED.finditer(rest)
    ]


def prose(page: Path) -> str:
    """Returns a page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Returns the targets of links and pictures that stay in the repository."""
    text = re.sub(_INLINE, "", prose(page))
    found = [match["target"] for match in _LINK.finditer(text)]
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """Returns the anchors that a page's headings get, by the rule of GitHub."""
    found: set[str] = set()
    for heading in _HEADING.findall(prose(page)):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = 0
        while (anchor := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(anchor)
    return found


def commands(page: Path, program: str = "oracle-tui") -> Iterator[list[str]]:
    """Yields the arguments of every command of a program: in blocks of shell, and in the prose."""
    for block in blocks(page):
        if block.language in ("sh", "bash", "console", "") or program in block.language:
            lines = block.text.replace("\\\n", " ").splitlines()
            for line in lines:
                if block.language == "console" and not line.startswith("$ "):
                    continue
                yield from _in_line(line, program)
    for code in _INLINE.findall(prose(page)):
        yield from _in_line(code.replace("\n", " "), program)


def _in_line(line: str, program: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.commenters = "#"
    lexer.wordchars += "{}*=.,:@/[]$+%…"
    try:
        tokens = list(lexer)
    except ValueError:  # prose with an apostrophe
        return
    words = program.split()
    place = 0
    while place < len(tokens):
        # A program's name begins a command; behind `ray start` or `apt install` it is a word.
        if tokens[place : place + len(words)] == words and _begins(tokens, place):
            end = next((at for at in range(place, len(tokens)) if tokens[at] in _ENDS), len(tokens))
            yield tokens[place + len(words) : end]
            place = end
        place += 1


def _begins(tokens: list[str], place: int) -> bool:
    before = tokens[place - 1] if place else ";"
    return before in _ENDS or before == "$" or "=" in before or before == "srun" or before[0] == "-"
