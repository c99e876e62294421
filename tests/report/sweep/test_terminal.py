"""Tables on the terminal hold the same numbers, and are plain text where there is no terminal."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from lora_jax.report.kit.markup import to_markup
from lora_jax.report.kit.tables import to_html
from lora_jax.report.sweep import rows
from lora_jax.report.sweep.results import read_results
from lora_jax.report.sweep.terminal import print_fits, print_runs
from lora_jax.scaling.documents import sweep_from_document, sweep_to_document

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def results(synthetic):
    return read_results(synthetic)


def printed(print_it, subject, **options) -> str:
    out = io.StringIO()
    print_it(subject, Console(file=out, highlight=False, **options))
    return out.getvalue()


def test_without_a_terminal_it_is_plain_text_with_every_number(results):
    text = printed(print_fits, results.fits, width=150)
    assert "\x1b" not in text
    assert not set(text) & set("│┃─━┏")
    for table in (rows.exponent_rows(results.fits), rows.frontier_rows(results.fits)):
        assert table is not None
        for row in table.rows:
            numbers = [cell for cell in row if not cell.startswith("be careful")]  # which goes over lines
            assert any(all(cell in line for cell in numbers) for line in text.splitlines()), row
    words = " ".join(text.split())
    for line in rows.warnings_of(results.fits):
        assert " ".join(line.split()) in words


def test_a_terminal_gets_colour_and_a_narrow_one_loses_no_number(results):
    wide = printed(print_fits, results.fits, width=120, force_terminal=True)
    assert "\x1b[" in wide
    narrow = printed(print_fits, results.fits, width=80)
    for row in rows.exponent_rows(results.fits).rows:
        assert any(row[1] in line and row[2] in line and row[3] in line for line in narrow.splitlines()), row


def test_every_run_is_printed_once(results):
    text = printed(print_runs, results, width=150)
    for run in results.runs:
        assert text.count(run.run_id) == 1


def test_markup_in_the_records_is_printed_as_it_is(results):
    fits = json.loads(json.dumps(sweep_to_document(results.fits)))
    fits["warnings"] = ["[red]not red[/red] [link=x]"]
    fits["fits"][0]["certificate"]["warnings"] = ["[bold]careful[/bold]"]
    text = printed(print_fits, sweep_from_document(fits), width=150)
    assert "[red]not red[/red] [link=x]" in text
    assert "[bold]careful[/bold]" in text


def test_both_renderings_show_the_same_cells(results):
    table = rows.heldout_rows(results.fits)
    assert table is not None
    html, text = to_html(table), printed(print_fits, results.fits, width=150)
    for row in table.rows:
        for cell in row:
            assert to_markup(cell) in html
            assert cell in text


def test_fits_print_without_matplotlib_or_jax(synthetic):
    """`lora-jax fit` draws nothing, so it must not pay for a drawing library."""
    code = (
        "import sys, json; from lora_jax.report.sweep.terminal import print_fits;"
        "from lora_jax.scaling.documents import read_fits;"
        f"print_fits(read_fits({str(synthetic / 'fits.json')!r}));"
        "bad = {'matplotlib', 'jax', 'wandb'} & set(sys.modules); assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "alpha_N" in done.stdout
