"""How the code is laid out: functions that take few things, and rules that are written once."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "lora_jax"
MOST_PARAMETERS = 6  # self among them
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
