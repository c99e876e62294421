"""A section of the benchmark as rows of text."""

from benchmarks.figures import Figure, Section
from lora_jax.report.kit.numbers import MISSING
from lora_jax.report.kit.tables import Table


def make_table(section: Section) -> Table:
    """Return a section as a table: a column for each figure, the median and the quartiles in a cell."""
    units = {figure.name: figure.unit for row in section.rows for figure in row.figures}
    asked = any(figure.kept is not None for row in section.rows for figure in row.figures)
    rows, flagged = [], set()
    for number, row in enumerate(section.rows):
        figures = {figure.name: figure for figure in row.figures}
        cells = [format_figure(figures[name]) if name in figures else MISSING for name in units]
        goals = [format_goal(figure) for figure in row.figures if figure.kept is not None]
        rows.append((row.label, *cells, *(["; ".join(goals)] if asked else [])))
        if any(figure.kept is False for figure in row.figures):
            flagged.add(number)
    return Table(
        section.title,
        ("", *(name_column(*pair) for pair in units.items()), *(["goal"] if asked else [])),
        tuple(rows),
        numeric=frozenset(range(1, len(units) + 1)),
        flagged=frozenset(flagged),
        note=section.note,
    )


def name_column(name: str, unit: str) -> str:
    return name if unit in ("ratio", name) else f"{name}, {unit}"


def format_figure(figure: Figure) -> str:
    """Return the median with the quartiles, 9.02 (8.97 to 9.11) with a dash; one repetition has none."""
    low, high = figure.quartiles
    spread = f" ({format_number(low)}\u2013{format_number(high)})" if len(figure.samples) > 1 else ""
    return f"{format_number(figure.median)}{spread}"


def format_goal(figure: Figure) -> str:
    """Return "wall time at most 300 s: kept"."""
    unit = "" if figure.unit == "ratio" else f" {figure.unit}"
    bounds = (("at most", figure.at_most), ("at least", figure.at_least))
    asked = " and ".join(f"{words} {bound:g}{unit}" for words, bound in bounds if bound is not None)
    return f"{figure.name} {asked}: {'kept' if figure.kept else 'NOT KEPT'}"


def format_number(x: float) -> str:
    """Return three digits, or all of those before the point: 9.02, 34.1, 12,345."""
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:#.3g}".rstrip(".")
