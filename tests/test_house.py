"""How the code is laid out: short functions that take few things, and rules that are written once."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "lora_jax"
MOST_PARAMETERS = 6  # self among them
MOST_LINES = 60  # of a function, from the first statement after its docstring to its end
MANY = 16  # values of a table that may be laid out by hand
LAID_OUT = ("lora_jax", "benchmarks", "experiments", "configs", "tests")
ROOMS = ("model", "training", "finetuning")


def count_parameters(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> int:
    """Return how many parameters a function has, those by keyword alone among them."""
    given = function.args
    others = [one for one in (given.vararg, given.kwarg) if one is not None]
    return len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs) + len(others)


@pytest.mark.parametrize("room", ROOMS)
def test_no_function_has_many_parameters(room: str) -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno} has {count_parameters(node)}"
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        and count_parameters(node) > MOST_PARAMETERS
    ]
    assert not found, f"at most {MOST_PARAMETERS} parameters: {'; '.join(found)}"


def count_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function's body, without its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return 0 if not body else (body[-1].end_lineno or 0) - body[0].lineno + 1


def test_the_lines_of_a_body_are_counted_without_the_docstring() -> None:
    signature, docstring = "def f(\n    x,\n):\n", '    """One.\n\n    Two.\n    """\n'
    for start, body, lines in (
        (signature, "    y = x\n    return (\n        y\n    )\n", 4),
        (signature + docstring, "\n    # why\n    y = x\n\n    return y\n", 3),
        (signature + docstring, "", 0),
        ("async def f():\n", "    def g():\n        pass\n", 2),
    ):
        function = ast.parse(start + body).body[0]
        assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        assert count_lines(function) == lines


def test_functions_are_short() -> None:
    found = []
    for path in sorted(path for place in LAID_OUT for path in (PACKAGE.parent / place).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if text.count("\n") <= MOST_LINES:
            continue
        found += [
            f"{path.relative_to(PACKAGE.parent)}:{node.lineno} {node.name} has {count_lines(node)}"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and count_lines(node) > MOST_LINES
        ]
    assert not found, f"at most {MOST_LINES} lines after the docstring: {'; '.join(found)}"


def test_a_percentage_is_spelled_by_one_function() -> None:
    """Not by an f-string of its own, such as {100 * share:.0f} %: lora_jax/percent.py says how."""
    spelled = re.compile(r"\{100 \* [^{}]*\} ?%|:\.?\d?%\}")
    files = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "percent.py"]
    found = [
        f"{path.relative_to(PACKAGE)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if spelled.search(line)
    ]
    assert not found, f"use percent of lora_jax/percent.py: {found}"


def count_values(node: ast.expr | None) -> int:
    """Return how many values a display of tuples, lists, sets and dicts holds. 0 if it is no display."""
    match node:
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts) | ast.Dict(values=parts):
            rows = [part for part in parts if isinstance(part, ast.Call)]
            inside = sum(count_values(part) or 1 for part in parts if part not in rows)
            return inside + sum(len(row.args) + len(row.keywords) for row in rows)
        case _:
            return 0


def test_only_tables_of_data_are_laid_out_by_hand() -> None:
    """A comment that stops the formatter stands behind a constant of many values, and nowhere else."""
    mark, wrong = "# fmt: " + "skip", []
    for path in sorted(path for place in LAID_OUT for path in (PACKAGE.parent / place).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        marked = [number for number, line in enumerate(text.splitlines(), 1) if mark in line]
        ends = {
            node.end_lineno: count_values(node.value)
            for node in (ast.walk(ast.parse(text)) if marked else ())
            if isinstance(node, ast.Assign | ast.AnnAssign)
        }
        wrong += [f"{path.relative_to(PACKAGE.parent)}:{n}" for n in marked if ends.get(n, 0) < MANY]
    assert not wrong, f"let the formatter lay this out, or hold at least {MANY} values there: {wrong}"
