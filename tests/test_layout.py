"""Tables in any width: every cell is whole, nothing is cut, and lines keep to the width where they can."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_jax.layout import PROSE, draw, find_width, lay_out, wrap

ROOT = Path(__file__).parents[1]
WORDS = ("be", "careful", "lack", "of", "fit", "d128x2-t2097152-s0-94223cc1bd", "moves", "by", "+0.025")


def make_table(seed: int) -> tuple[tuple[str, ...], list[tuple[str, ...]], set[int]]:
    """Return columns, rows and numeric columns: names, numbers and here and there a sentence."""
    draws = random.Random(seed)
    n_columns, n_rows = draws.randint(1, 9), draws.randint(0, 6)
    columns = tuple(" ".join(draws.choices(("its", "tokens", "peak", "rate"), k=2)) for _ in range(n_columns))
    prose = {i for i in range(1, n_columns) if draws.random() < 0.25}
    numeric = {i for i in range(1, n_columns) if i not in prose and draws.random() < 0.6}

    def cell(i: int, row: int) -> str:
        if i in prose:
            return " ".join(draws.choices(WORDS, k=draws.randint(0, 25)))
        if i in numeric:
            return f"{draws.uniform(0, 10 ** draws.randint(0, 9)):,.{draws.randint(0, 4)}f}"
        return f"{i}.{row} " + "n" * draws.randint(0, 30)

    return columns, [tuple(cell(i, row) for i in range(n_columns)) for row in range(n_rows)], numeric


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 150])
def test_every_cell_is_whole_in_any_width(width: int) -> None:
    for seed in range(300):
        columns, rows, numeric = make_table(seed)
        blocks = lay_out(columns, rows, numeric, width)
        for number, row in enumerate(rows):
            lines = [line.text for block in blocks for line in block if line.row == number]
            said = " ".join(" ".join(lines).split())
            for i, cell in enumerate(row):
                if len(cell) <= min(PROSE, width - 8 - len(columns[i])):
                    assert any(cell.strip() in line for line in lines), (seed, cell, lines)
                for word in cell.split():
                    assert word in said.split(), (seed, word, lines)
        for block in blocks:
            for line in block:
                if len(line.text) > width:  # only what is longer by itself
                    longest = max(len(cell) for row in [columns, *rows] for cell in row)
                    assert longest > width - 8, (seed, line)


def test_a_table_that_fits_is_one_block_and_its_columns_are_aligned() -> None:
    [block] = lay_out(("name", "value"), [("a", "1"), ("bb", "22.5")], {1}, 80)
    assert [line.text for line in block] == ["name  value", "a         1", "bb     22.5"]
    assert [line.row for line in block] == [None, 0, 1]


def test_the_first_column_is_repeated_and_an_interval_stays_with_its_number() -> None:
    columns = ("model", "parameters", "loss", "95 % interval")
    rows = [("GPT-2", "124,439,808", "3.01", "3.00 to 3.02")]
    first, second = lay_out(columns, rows, {1, 2}, 30)
    assert [line.text.split() for line in first] == [["model", "parameters"], ["GPT-2", "124,439,808"]]
    assert [line.text for line in second if line.row == 0] == ["GPT-2  3.01  3.00 to 3.02"]


def test_a_sentence_stands_beside_its_row_where_there_is_room_and_else_below() -> None:
    verdict = "be careful: " + "the runs lie off the law " * 4
    rows = [("alpha", "0.34", verdict.strip())]
    beside = [line.text for line in lay_out(("exponent", "value", "verdict"), rows, {1}, 80)[0]]
    assert beside[1].startswith("alpha      0.34  be careful: the runs")
    below = [line.text for line in lay_out(("exponent", "value", "verdict"), rows, {1}, 50)[0]]
    assert below[0] == "exponent  value"
    assert below[1] == "alpha      0.34"
    assert below[2].startswith("    verdict: be careful")
    assert max(map(len, below)) <= 50


def test_two_sentences_are_both_told() -> None:
    """One beside the row and the other below it: at 80 columns `laws` had lost its formulas."""
    rows = [("kaplan", "a b " * 15, "c d " * 30)]
    said = " ".join(line.text for line in lay_out(("name", "formula", "source"), rows, (), 80)[0])
    assert said.split().count("a") == 15
    assert said.split().count("c") == 30


def test_the_width_is_that_of_the_terminal_unless_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    assert find_width() == 72
    monkeypatch.delenv("COLUMNS")
    assert find_width() == 150  # of the pipe that reads the tests


def test_a_long_word_is_never_broken() -> None:
    name = "d128x2-t2097152-s0-94223cc1bd"
    assert wrap(f"without run {name} it moves", 20) == ["without run", name, "it moves"]


# ---- the commands


def print_sizes() -> list[str]:
    from lora_jax.commands.sizes import CONVENTIONS, measure_preset
    from lora_jax.model.presets import PRESETS
    from lora_jax.report.kit.tables import make_console, print_table
    from lora_jax.report.sizes.results import SizesLaw, SizesReport
    from lora_jax.report.sizes.rows import cost_rows, size_rows

    models = tuple(measure_preset(preset, None, None) for preset in PRESETS.values())
    told = {"formula": "", "reference": "", "table": "", "command": "", "corpus": ""}
    law = SizesLaw(**told, n_runs=None, params=None, verdict=None, unavailable=None)
    for rows in (size_rows, cost_rows):
        print_table(rows(SizesReport(models, law, CONVENTIONS)), make_console())
    numbers = [f"{m.counted.n_params:,}" for m in models if m.counted is not None]
    return [m.model for m in models] + numbers


def print_published_fits() -> list[str]:
    from lora_jax.report.sweep.terminal import print_fits
    from lora_jax.scaling.documents import read_fits

    fits = read_fits(ROOT / "results" / "published" / "scaling_cpu" / "fits.json")
    print_fits(fits)
    return [*(fit.key for fit in fits.fits), *fits.by_convention, fits.heldout_cell.run_id]


def print_published_runs() -> list[str]:
    from lora_jax.report.sweep.results import read_results
    from lora_jax.report.sweep.terminal import print_runs

    results = read_results(ROOT / "results" / "published" / "scaling_cpu")
    print_runs(results)
    return [run.run_id for run in results.runs]


def print_published_methods() -> list[str]:
    from lora_jax.comparison.documents import read_comparison
    from lora_jax.report.methods.terminal import print_comparison

    found = read_comparison(ROOT / "results" / "published" / "peft_sst2" / "comparison.json")
    print_comparison(found)
    return [method.label for method in found.methods]


def print_a_plan() -> list[str]:
    from lora_jax.config import run_id
    from lora_jax.runs.experiment import load_experiment
    from lora_jax.runs.plan_table import print_plan

    experiment = load_experiment(ROOT / "configs" / "scaling_gpu.py")
    print_plan(experiment, ())
    return [run_id(run) for run in experiment.runs]


def print_what_trains() -> list[str]:
    from lora_jax.config import BERT, ModelConfig
    from lora_jax.peft.methods.adapters import AdapterH
    from lora_jax.peft.summary import print_summary, summarise

    model = ModelConfig(d_model=384, n_layers=6, n_heads=12, vocab_size=30522, context=512, **BERT)
    summary = summarise(model, AdapterH(rank=16).build(model), 24)
    print_summary(summary)
    return [row.path for row in summary.rows] + [f"{row.n_params:,}" for row in summary.rows]


def print_laws() -> list[str]:
    from lora_jax.cli import main
    from lora_jax.scaling.laws import LAWS

    assert main(["laws"]) == 0
    return [*LAWS, *(law.reference for law in LAWS.values() if len(law.reference) < PROSE)]


PRINTERS = [
    print_sizes,
    print_published_fits,
    print_published_runs,
    print_published_methods,
    print_a_plan,
    print_what_trains,
    print_laws,
]


@pytest.mark.parametrize("columns", ["60", "80", "120"])
@pytest.mark.parametrize("printer", PRINTERS, ids=lambda printer: printer.__name__)
def test_every_name_in_the_data_is_printed_whole(
    printer: Callable[[], list[str]],
    columns: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    names = printer()
    lines = capsys.readouterr().out.splitlines()
    assert len(names) > 5
    for name in names:
        assert any(name in line for line in lines), name


def test_drawn_lines_have_a_rule_under_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert draw(("run", "N"), [("a", "12")], {1}) == ["run   N", "\u2500" * 7, "a    12"]
