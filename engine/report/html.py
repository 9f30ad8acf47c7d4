"""Small pieces of HTML. Everything that is not markup of our own goes through `text`."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from engine.store.text import printable

# What the report may load: nothing, from nowhere.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff;
       max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; margin-top: 3rem; border-top: 2px solid #ccc;
     padding-top: 1rem; } h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
table { border-collapse: collapse; margin: .4rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .15rem .9rem .15rem 0; }
thead th { border-bottom: 1px solid #999; } tbody th { font-weight: normal; color: #555; }
.verdict { border-left: 4px solid #0072B2; padding: .2rem .8rem; background: #f2f7fb; }
.wide { overflow-x: auto; } figure { margin: 1rem 0; }
figure svg { max-width: 100%; height: auto; }
small { color: #555; }
"""


def text(value: object) -> str:
    """Returns any text as HTML that shows it, control characters written out."""
    return html.escape(printable(str(value)), quote=True)


def page(title: str, body: Iterable[str]) -> str:
    """Returns a whole document."""
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{text(title)}</title><style>{_STYLE}</style></head><body>",
            *body,
            "</body></html>\n",
        )
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table of texts with a header."""
    head = "".join(f"<th>{text(cell)}</th>" for cell in header)
    lines = ("".join(f"<td>{text(cell)}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    whole = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{whole}</div>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Returns names and what they stand for as a table of two columns."""
    lines = "".join(
        f"<tr><th>{text(name)}</th><td>{text(value)}</td></tr>" for name, value in pairs
    )
    return f"<table><tbody>{lines}</tbody></table>"


def inline_svg(svg: bytes, name: str) -> str:
    """Returns an SVG file as an element of a document.

    Names inside get a prefix: several figures in one document must not share them.

    Args:
        svg: The file, as our own figures are written.
        name: The prefix, letters and digits.
    """
    source = svg.decode("utf-8")
    source = source[source.index("<svg") :]
    source = re.sub(r'\bid="', f'id="{name}-', source)
    source = re.sub(r'(href="|url\()#', rf"\1#{name}-", source)
    # Its metadata name the vocabularies they use, which look like addresses and are none.
    source = re.sub(r"<metadata>.*?</metadata>", "", source, flags=re.DOTALL)
    return f"<figure>{source}</figure>"
