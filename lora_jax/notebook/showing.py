"""Answers as a notebook shows them: the verdict, a few lines, and tables."""

from collections.abc import Sequence
from html import escape

from lora_jax.report.kit.tables import Table, to_html, to_prose
from lora_jax.scaling.verdict import Level, Verdict

COLOURS = {Level.BELIEVE: "#1a7f37", Level.BE_CAREFUL: "#9a6700", Level.DO_NOT_BELIEVE: "#cf222e"}
MOST_DOUBTS = 3


def show(verdict: Verdict | None, lines: Sequence[str], tables: Sequence[Table]) -> str:
    """Return an answer as HTML. It shows the first doubts. The others can be unfolded."""
    parts = [] if verdict is None else [_verdict(verdict)]
    parts += [f"<p>{to_prose(line)}</p>" for line in lines]
    parts += [to_html(table) for table in tables]
    return f"<div>{''.join(parts)}</div>"


def _verdict(verdict: Verdict) -> str:
    colour = COLOURS[verdict.level]
    said = f'<p style="color:{colour}"><b>{escape(str(verdict.level).capitalize())}.</b></p>'
    first, rest = verdict.doubts[:MOST_DOUBTS], verdict.doubts[MOST_DOUBTS:]
    if first:
        said += f"<ul>{_items(first)}</ul>"
    if rest:
        said += f"<details><summary>{len(rest)} more</summary><ul>{_items(rest)}</ul></details>"
    return said


def _items(lines: Sequence[str]) -> str:
    return "".join(f"<li>{to_prose(line)}</li>" for line in lines)
