"""The table of docs/accelerators.md: every target, what is predicted of a row, two targets made again."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lora_jax.compiling.start import compile_config
from lora_jax.runs.experiment import load_experiment
from lora_jax.target import parse_target
from lora_jax.training.device_memory import Split, predict_memory
from tests.compiling.published import (
    CONFIG,
    DOCUMENT,
    TARGETS,
    Row,
    differences,
    main,
    read_rows,
    rows_of,
    with_rows,
)
from tests.compiling.test_start import has_compiler
from tests.compiling.test_table import REPORT

ROWS = read_rows(DOCUMENT.read_text())
PUBLISHED = {row.target for row in ROWS}
RUNS = {f"d{run.model.d_model}x{run.model.n_layers}": run for run in load_experiment(CONFIG, []).runs}
WITHIN = 0.15  # of the compiler's count: what the prediction of memory promises


def test_the_table_has_every_step_of_each_of_its_targets() -> None:
    names = [name for name in (parse_target(text).name for text in TARGETS) if name in PUBLISHED]
    assert set(names) == PUBLISHED, "a target that the command does not write"
    assert len(PUBLISHED) >= 6
    assert [(row.target, row.step.split(",")[0]) for row in ROWS] == [
        (name, d) for name in names for d in RUNS
    ]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.target} {row.step}")
def test_what_plan_predicts_is_what_the_compiler_says(row: Row) -> None:
    target = parse_target(row.target)
    predicted = predict_memory(RUNS[row.step.split(",")[0]], target, Split(fsdp=target.n_devices)).peak
    held = row.numbers["memory in GB"]
    if not held:  # the compiler refuses it
        assert predicted > (1 - WITHIN) * target.device.memory_bytes
        return
    assert predicted == pytest.approx(1e9 * held[0], rel=WITHIN)


def make_row(gigabytes: float, attention: str = "fused") -> Row:
    numbers = {"memory in GB": (gigabytes, 80.0), "FLOPs": (1e12,)}
    return Row("h100-80gb:1", "d8x1, batch 2 x 4", ("fsdp=4", attention, "fits"), numbers)


def test_a_number_that_changed_is_told_with_what_to_do() -> None:
    assert differences(make_row(10.0), make_row(10.3)) == []
    assert differences(make_row(0.01), make_row(0.02)) == [], "the last digit that is written"
    (words,) = differences(make_row(10.0), make_row(11.0))
    assert words.startswith("accelerators.md, h100-80gb:1, d8x1, batch 2 x 4: memory in GB was (10.0, 80.0)")
    assert "run .ci/compile --table" in words
    assert len(differences(make_row(10.0), make_row(10.0, "not fused"))) == 1


def test_rows_of_one_target_are_written_and_all_others_stay() -> None:
    text = DOCUMENT.read_text()
    report = replace(REPORT, target="h100-80gb:4", steps=REPORT.steps[:1])
    after = read_rows(with_rows(text, report))
    assert [row for row in after if row.target != report.target] == [
        row for row in ROWS if row.target != report.target
    ]
    assert [row.step for row in after if row.target == report.target] == [report.steps[0].model]
    targets = list(dict.fromkeys(row.target for row in after))
    assert targets == list(dict.fromkeys(row.target for row in ROWS))
    assert with_rows(with_rows(text, report), report) == with_rows(text, report)
    outside = text.split("<!--")[0]
    assert with_rows(text, report).startswith(outside)


def test_a_target_without_rows_is_refused_before_anything_is_compiled(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["h100:2"]) == 2
    assert "h100:2 has no rows in the table: name some of h100:1, h100:4," in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n_steps"), [("h100:1", 1), ("v5e:2x2", 1)])
def test_rows_are_made_again(
    name: str, n_steps: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("JAX_DISABLE_MOST_OPTIMIZATIONS", raising=False)  # as a user's own call compiles
    if not has_compiler(name) and "LORA_JAX_COMPILERS" not in os.environ:  # .ci/compile has them
        pytest.skip(f"the packages that compile for {name} are not installed: docs/accelerators.md")
    if parse_target(name).name not in PUBLISHED:
        pytest.skip(f"{name} is not in the table: .ci/compile --table writes it")
    few = tmp_path / "accelerators.py"
    few.write_text(f"{CONFIG.read_text()}\n\nSHAPES = SHAPES[:{n_steps}]\n")
    found = rows_of([compile_config(few, [], parse_target(name))])
    assert len(found) == n_steps
    published = {(row.target, row.step): row for row in ROWS}
    told = [words for row in found for words in differences(published[row.target, row.step], row)]
    assert not told, "\n".join(told)
