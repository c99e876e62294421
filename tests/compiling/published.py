"""The table of docs/accelerators.md: made by one command, read again, and compared with what is compiled now.

As a program it compiles configs/accelerators.py for TARGETS, or for those that are named, and writes their
rows into the document: .ci/compile --table, .ci/compile --table h100:4. All take some minutes on two quiet
CPU cores.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lora_jax.compiling.results import CompileReport
from lora_jax.compiling.start import compile_config
from lora_jax.compiling.table import format_markdown
from lora_jax.target import parse_target

ROOT = Path(__file__).parents[2]
DOCUMENT, CONFIG = ROOT / "docs" / "accelerators.md", ROOT / "configs" / "accelerators.py"
TARGETS = ("h100:1", "h100:4", "a100-80gb:1", "h200:1", "v5e:2x2", "v5p:2x2x1", "v6e:2x2")
BEGIN, END = "<!-- compiled: .ci/compile --table writes these rows -->\n", "<!-- end of what was compiled -->"
REWRITE = "run .ci/compile --table, which writes the table anew, and say in CHANGELOG.md what changed it"
TOLERANCE = (
    0.05  # of bytes and times: compilers of one version round, and choose kernels, a little differently
)

LAST_DIGIT = 0.0101  # of what the table writes to two places behind the point


class Row(NamedTuple):
    """A row of the table: its numbers by name, and what is no number."""

    target: str
    step: str
    words: tuple[str, ...]
    numbers: dict[str, tuple[float, ...]]


def read_rows(text: str) -> list[Row]:
    """Return the rows of the table in a document."""
    lines = text.split(BEGIN)[1].split(END)[0].strip().splitlines()
    return [_read_row(line) for line in lines[2:]]


def rows_of(reports: Sequence[CompileReport]) -> list[Row]:
    """Return what was compiled now as the table would have it."""
    return [_read_row(line) for line in format_markdown(reports).splitlines()[2:]]


def differences(published: Row, found: Row) -> list[str]:
    """Return where two rows of one step differ by more than TOLERANCE, a sentence each."""
    told = []
    if published.words != found.words:
        told.append(f"{published.words} has become {found.words}")
    for name in sorted(published.numbers.keys() | found.numbers.keys()):
        old, new = (row.numbers.get(name, ()) for row in (published, found))
        if len(old) != len(new) or not all(_alike(*pair) for pair in zip(old, new, strict=True)):
            told.append(f"{name} was {old} and is {new}")
    return [f"{DOCUMENT.name}, {found.target}, {found.step}: {words}; {REWRITE}." for words in told]


def _alike(old: float, new: float) -> bool:
    return abs(old - new) <= TOLERANCE * max(old, new) + LAST_DIGIT


def _read_row(line: str) -> Row:
    target, mesh, step, flops, memory, attention, estimate, _, received = (
        cell.strip() for cell in line.strip().strip("|").split("|")
    )
    numbers = {
        "FLOPs": _numbers(flops),
        "memory in GB": _numbers(memory),
        "the estimate in ms": _times(estimate),
    }
    kinds = re.findall(r"([a-z-]+) ([\d,]+) \(([\d.]+) GB\)", received)
    for kind, count, size in kinds:
        numbers[f"the number of {kind}"] = (float(count.replace(",", "")),)
        numbers[f"GB received by {kind}"] = (float(size),)
    return Row(target, step, (mesh, attention, "fits" if _numbers(memory) else memory), numbers)


def _numbers(cell: str) -> tuple[float, ...]:
    return tuple(float(number) for number in re.findall(r"\d[\d.]*(?:e[+-]?\d+)?", cell))


def _times(cell: str) -> tuple[float, ...]:
    """Return the times of a cell such as "12.3 ms to 1.20 s" in ms."""
    found = re.findall(r"([\d.,]+) (ms|s)\b", cell)
    return tuple(float(number.replace(",", "")) * (1 if unit == "ms" else 1000) for number, unit in found)


def with_rows(text: str, report: CompileReport) -> str:
    """Return a document with the rows of a report's target in the place of those that it had.

    The rows of the other targets stay. All are in the order of TARGETS.
    """
    before, rest = text.split(BEGIN)
    old, after = rest.split(END)
    new = format_markdown([report]).splitlines()
    rows: dict[str, list[str]] = {parse_target(name).name: [] for name in TARGETS}
    for line in old.strip().splitlines()[2:]:
        rows[_read_row(line).target].append(line)
    rows[report.target] = new[2:]
    table = "\n".join([*new[:2], *(line for lines in rows.values() for line in lines)])
    return f"{before}{BEGIN}\n{table}\n\n{END}{after}"


def main(names: Sequence[str]) -> int:
    """Compile for these targets, or for all, and write each one's rows as it is done."""
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        print(f"{unknown[0]} has no rows in the table: name some of {', '.join(TARGETS)}.", file=sys.stderr)
        return 2
    for name in names or TARGETS:
        found = compile_config(CONFIG, [], parse_target(name))
        print(format_markdown([found]), file=sys.stderr, flush=True)
        DOCUMENT.write_text(with_rows(DOCUMENT.read_text(), found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
