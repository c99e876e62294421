"""How often lora_jax and benchmarks read a dictionary by a string: the count per 1,000 lines, by room.

A read is a subscript with a literal string, as in `row["loss"]`, or `.get("loss")`. Not counted are

- paths of weights, which have a "/" in them: a parameter tree is a flat dictionary by design;
- environment variables, `os.environ[...]`;
- columns of tables of runs, whose names are the user's: in scaling/, what is read of a name that the file
  declares as a `RunTable`, or of its `.columns`; in scaling/tables/ also of a `row` of a file.

Everything else counts, also columns of runs.csv that report/ reads, and parameters of a law.

Run as `python -m tests.string_keys`.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE, BENCHMARKS = ROOT / "lora_jax", ROOT / "benchmarks"
ROWS = "row"  # what scaling/tables/ calls a row of a file


@dataclass(frozen=True)
class Read:
    """One read: the file below lora_jax/, its line, what is read in source, and the key."""

    file: Path
    line: int
    of: str
    key: str

    @property
    def room(self) -> str:
        return self.file.parts[0] if len(self.file.parts) > 1 else "."


def reads_of(source: str, file: Path) -> list[Read]:
    """Return the reads that count in the source of a file, whose path is below lora_jax/."""
    tree = ast.parse(source)
    tables = _tables(tree) if file.parts[0] == "scaling" else frozenset()
    in_tables = file.parts[:2] == ("scaling", "tables")
    return [
        Read(file, node.lineno, ast.unparse(base), key)
        for node, base, key in _keyed(tree)
        if "/" not in key and ast.unparse(base) != "os.environ" and not _is_column(base, tables, in_tables)
    ]


def _keyed(tree: ast.AST) -> Iterator[tuple[ast.expr, ast.expr, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=base, slice=ast.Constant(value=str(key)), ctx=ast.Load()):
                yield node, base, key
            case ast.Call(
                func=ast.Attribute(value=base, attr="get"), args=[ast.Constant(value=str(key)), *_]
            ):
                yield node, base, key
            case _:
                pass


def _tables(tree: ast.AST) -> frozenset[str]:
    """Return the names that are declared as a RunTable: arguments and fields."""
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.arg | ast.AnnAssign) or node.annotation is None:
            continue
        if "RunTable" in ast.unparse(node.annotation).strip("'\"").split(" | "):
            found.add(node.arg if isinstance(node, ast.arg) else ast.unparse(node.target))
    return frozenset(found)


def _is_column(base: ast.expr, tables: frozenset[str], in_tables: bool) -> bool:
    name = base.id if isinstance(base, ast.Name) else base.attr if isinstance(base, ast.Attribute) else ""
    if isinstance(base, ast.Attribute) and name == "columns":
        return ast.unparse(base.value).rpartition(".")[2] in tables | {"table"}
    return name in tables or (in_tables and name == ROWS)


def count() -> tuple[Counter[str], Counter[str]]:
    """Return the reads that count and the lines of code, both by room; "." is what lies in none."""
    reads: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for path in sorted([*PACKAGE.rglob("*.py"), *BENCHMARKS.rglob("*.py")]):
        file = path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else ROOT)
        source = path.read_text(encoding="utf-8")
        room = file.parts[0] if len(file.parts) > 1 else "."
        reads[room] += len(reads_of(source, file))
        lines[room] += len(source.splitlines())
    return reads, lines


def per_thousand(reads: int, lines: int) -> float:
    return 1000 * reads / max(lines, 1)


def main() -> None:
    reads, lines = count()
    print(f"{'room':<14}{'reads':>7}{'lines':>8}{'per 1,000':>11}")
    for room in sorted(lines, key=lambda name: -reads[name]):
        print(f"{room:<14}{reads[room]:>7}{lines[room]:>8}{per_thousand(reads[room], lines[room]):>11.1f}")
    total, length = reads.total(), lines.total()
    print(f"{'all':<14}{total:>7}{length:>8}{per_thousand(total, length):>11.1f}")


if __name__ == "__main__":
    main()
