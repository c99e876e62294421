"""The page's script sorts cells by what they say."""

import json
import shutil
import subprocess
from typing import Any

import pytest

from lora_jax.report.kit.page_script import SCRIPT

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="Node.js runs the script outside a browser")

VALUES = {
    "1.3B": 1.3e9, "65.5k": 65_500, "2.10e-3": 2.1e-3, "12 %": 12, "+0.52 %": 0.52, "1,234": 1234,
    "1,234,567.5": 1_234_567.5, "\u22120.15 %": -0.15, "0.330 to 0.352": 0.33, "below 2.17": 2.17,
    "above 0.3": 0.3, "> 1e299": 1e299, "0, its bound": 0, "42 s": 42, "3 min 20 s": 200, "1 h 05 min": 3900,
    "2.4085 (2.2401 to 2.6111)": 2.4085, ".836": 0.836,
    "d12x2-t4194304": None, "12x2": None, "open at both ends": None, "": None, "L(N)": None,
    "1.2e15": 1.2e15, "3 MiB": 3, "\u22120.52\u00a0%": -0.52,
}  # fmt: skip


def run(code: str) -> Any:
    assert NODE is not None
    done = subprocess.run([NODE, "-e", SCRIPT + code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@needs_node
def test_a_cell_sorts_by_its_value():
    found = run(f"console.log(JSON.stringify({json.dumps(list(VALUES))}.map(sortValue)))")
    assert found == list(VALUES.values())


@needs_node
@pytest.mark.parametrize(
    ("cells", "ordered"),
    [
        (["1.3B", "\u2013", "2k", "900M"], ["2k", "900M", "1.3B", "\u2013"]),
        (["d12-s10", "d12-s9", "d9"], ["d9", "d12-s9", "d12-s10"]),
        (["12 %", "2.5 %", "\u22123 %"], ["\u22123 %", "2.5 %", "12 %"]),
    ],
)
def test_columns_sort_by_size_or_by_name_and_what_is_missing_comes_last(cells, ordered):
    sort = "[1, -1].map(sign => [...cells].sort((a, b) => compare(a, b, sign)))"
    code = f"const cells = {json.dumps(cells)}, compare = compareCells(cells);"
    up, down = run(f"{code} console.log(JSON.stringify({sort}))")
    assert up == ordered
    there = [cell for cell in ordered if cell != "\u2013"]
    assert down == [*reversed(there), *(cell for cell in ordered if cell == "\u2013")]


@needs_node
def test_csv_keeps_commas_and_quotes_inside_their_cells():
    table = "const row = (...c) => ({cells: c.map(textContent => ({textContent}))});"
    code = table + "console.log(JSON.stringify(toCsv({rows: [row('a', 'b'), row('1,2', 'say \"x\"')]})))"
    assert run(code) == 'a,b\r\n"1,2","say ""x"""\r\n'


@needs_node
def test_csv_has_plain_spaces_before_percent_signs():
    """A page joins numbers to their signs by a space at which no line ends; other cells stay as they are."""
    table = "const row = (...c) => ({cells: c.map(textContent => ({textContent}))});"
    cells = json.dumps(["+0.03\u00a0%", "95\u00a0% interval", "a\u00a0b", "1.5"])
    code = table + f"console.log(JSON.stringify(toCsv({{rows: [row(...{cells})]}})))"
    assert run(code) == "+0.03 %,95 % interval,a\u00a0b,1.5\r\n"
