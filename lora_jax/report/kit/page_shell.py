"""What every page of a report is built of: the document with its style sheet, sections, figures, lists.

A page is one file that opens offline: nothing may be fetched and no script but its own may run, whatever the
records say.
"""

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape

from lora_jax.report.kit.drawing import Drawing, Saved
from lora_jax.report.kit.marks import to_inline
from lora_jax.report.kit.markup import to_markup
from lora_jax.report.kit.page_script import SCRIPT, policy_of
from lora_jax.report.kit.page_style import CSS
from lora_jax.report.kit.tables import Table, to_html, to_prose

KEY = re.compile(r"[a-zA-Z][\w ]*:\s\s|expected \w+:")  # begins a line of the block that ends a question
WRAPPED = 60  # characters; a line of a question that long was broken and goes on in the next
MOST_DOUBTS = 3  # that a summary shows; the others are folded
MOST_LINES = 4  # of sentences of one form, such as one for each recipe
LARGEST_SVG = 400_000  # bytes; a denser drawing is shown as its PNG
_POLICY = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {policy_of(SCRIPT)}"


def make_document(
    heading: str, subject: str, intro: str, sections: Sequence[tuple[str, str, str]], sources: str
) -> str:
    """Make a page.

    Args:
        heading: The page's title, as text.
        subject: What kind of page it is. The browser's title is "heading: subject".
        intro: What stands below the heading, as text: a command, or a question. What follows the first
            paragraph of a question is folded, so that the answer is on the first screen.
        sections: (id, title, content as HTML) in order. Each has a link at the top. One without content is
            left out.
        sources: Where the page comes from, as HTML (`show_sources`).

    Returns:
        The page as HTML. Everything that is given as text is escaped.
    """
    sections = [section for section in sections if section[2].strip()]
    links = " ".join(f'<a href="#{key}">{to_markup(title)}</a>' for key, title, _ in sections)
    body = "\n".join(
        f'<section id="{key}"><h2>{to_markup(title)}</h2>\n{content}</section>'
        for key, title, content in sections
    )
    name = to_markup(heading)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}: {to_markup(subject)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        f"<header><h1>{name}</h1>\n{_show_intro(intro)}\n<nav>{links}</nav>\n{sources}</header>\n"
        f"<main>\n{body}\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _show_intro(intro: str) -> str:
    question, _, rest = intro.partition("\n\n")
    if not question.endswith((".", "?")):  # a command
        return f"<pre>{escape(intro)}</pre>"
    said = f'<p class="question">{to_markup(question)}</p>'
    if not rest.strip():
        return said
    return f"{said}\n<details><summary>What was run</summary><pre>{escape(rest)}</pre></details>"


def show_sentences(lines: Sequence[str]) -> str:
    """Return sentences of one form as paragraphs: the first four, and the others folded."""
    shown, folded = ("".join(f"<p>{to_prose(line)}</p>\n" for line in part) for part in _split(lines))
    if not folded:
        return shown
    n = len(lines) - MOST_LINES
    return f"{shown}<details><summary>Show {n} more like these</summary>\n{folded}</details>\n"


def _split(lines: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    most = len(lines) if len(lines) == MOST_LINES + 1 else MOST_LINES  # one line is not worth a fold
    return lines[:most], lines[most:]


def unwrap(text: str) -> str:
    """Join the lines of a config's question that were broken at a width: the page has a width of its own.

    A line is joined to the one before if that one is long. A line of the block at the end
    ("command:", "expected answer:") stays by itself.
    """
    lines: list[str] = []
    before = ""
    for line in text.strip().splitlines():
        if len(before) >= WRAPPED and line.strip() and not KEY.match(line):
            lines[-1] += " " + line.strip()
        else:
            lines.append(line)
        before = line
    return "\n".join(lines)


def show_tables(*tables: Table | None) -> str:
    """Return the tables that there are as HTML; the empty text where there is none."""
    return "\n".join(to_html(table) for table in tables if table is not None)


def show_figures(drawings: Sequence[Drawing], saved: Sequence[Saved]) -> str:
    """Return the figures, with the files of each, as HTML; nothing where there are none."""
    figures = [_figure(drawing, files) for drawing, files in zip(drawings, saved, strict=True)]
    return f'<div class="figures">{"".join(figures)}</div>' if figures else ""


def _figure(drawing: Drawing, saved: Saved) -> str:
    """Return a figure: its SVG within the page where points bear words, else as an image."""
    title = to_markup(drawing.title)
    is_small = saved.svg.stat().st_size <= LARGEST_SVG
    path, kind = (saved.svg, "svg+xml") if is_small else (saved.png, "png")
    if is_small and saved.has_words:
        said = f"{drawing.title}. {drawing.caption}"
        image = to_inline(path.read_text(encoding="utf-8"), drawing.name, said)
    else:
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        image = f'<img src="data:image/{kind};base64,{data}" alt="{title}. {to_markup(drawing.caption)}">'
    # A figure that bears this very title needs it no second time.
    named = "" if " ".join(saved.title.split()) == drawing.title else f"<b>{title}.</b> "
    return f"<figure>{image}<figcaption>{named}{to_prose(drawing.caption)}</figcaption></figure>"


def show_warnings(lines: Sequence[str]) -> str:
    """Return the first three warnings as a marked list and the others folded, or that there are none."""
    if not lines:
        return "<p>There are no warnings.</p>"
    first, rest = _list_warnings(lines[:MOST_DOUBTS]), lines[MOST_DOUBTS:]
    if not rest:
        return first
    return f"{first}\n<details><summary>Show {len(rest)} more</summary>{_list_warnings(rest)}</details>"


def _list_warnings(lines: Sequence[str]) -> str:
    return f'<ul class="warnings">{"".join(f"<li>{to_prose(line)}</li>" for line in lines)}</ul>'


def show_definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names with their values as a list in two columns, nothing where there are none."""
    items = "".join(f"<dt>{to_markup(name)}</dt><dd>{to_markup(value)}</dd>" for name, value in pairs)
    return f"<dl>{items}</dl>" if items else ""
