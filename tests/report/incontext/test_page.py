"""The page, figures and tables of an in-context comparison, from records whose truth is known."""

import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from lora_jax.comparison.incontext_documents import load_backward, load_incontext
from lora_jax.comparison.incontext_folder import write_incontext
from lora_jax.comparison.incontext_results import Cost, InContextComparison
from lora_jax.errors import LoraJaxError
from lora_jax.report.incontext.cost_plots import cost_of, plot_cost
from lora_jax.report.incontext.page import read_incontext_results, write_incontext_report
from lora_jax.report.incontext.plots import find_looks, list_panels, plot_accuracy
from lora_jax.report.incontext.rows import backward_rows, cost_rows, draw_rows, score_rows
from lora_jax.report.incontext.terminal import print_incontext
from lora_jax.report.kit.markup import NO_BREAK
from lora_jax.report.kit.numbers import format_count
from tests.comparison.tuned_fields import RUN, TUNING, score
from tests.report.sweep.test_page import assert_only_our_script

N_TEST = 80
CI = {"value": 2.5, "ci95": [2.2, 2.9]}
BYTES = {"temporary": 5_000_000, "arguments": 1, "outputs": 1}
FACTS = {
    "device": "cpu",
    "versions": {"jax": "0.6"},
    "git_commit": "abc",
    "created_at": "2026-01-01T00:00:00+00:00",
}


def make_prompts(rng: Any) -> list[dict[str, Any]]:
    def half(chance: float) -> dict[str, Any]:
        rights = (rng.random(N_TEST) < chance).astype(int).tolist()
        return {"rights": rights, "n_tokens_run": 900, "seconds": 4.0}

    return [
        {
            "run_id": f"k{k}-{draw}",
            "n_shots": min(k, 3.5),
            "notes": ["<b>cut</b>"] if k == 8 else [],
            "config": {
                "base": "lm",
                "label": "T<1>",
                "k": k,
                "draw": draw,
                "task": {"name": "t", "prompt": {"answers": ["no", "yes"]}},
            },
            "plain": half(0.6),
            "calibrated": half(0.65),
            **FACTS,
        }
        for k in (0, 2, 8)
        for draw in ((0,) if k == 0 else (0, 1, 2))
    ]


def make_runs(rng: Any) -> list[dict[str, Any]]:
    return [
        {
            "run_id": f"{base}-{n}-{draw}",
            "status": "done",
            "learning_rate": 1e-3,
            "n_tokens": 50 * n,
            "n_steps": 10,
            "wall_seconds": 30.0,
            "config": {"optim": {"batch_size": 8}},
            "data": {
                "in_context": {"label": "T<1>", "n": n, "draw": draw, "head": base != "lm"},
                "splits": {"train": {"examples": n}},
                "encoded": {"test": {"tokens": 2000}},
                "labels": ["a", "b"],
            },
            "finetuning": {
                "base": base,
                "label": "LoRA r 8",
                "seconds_per_step": 0.5,
                "method": {"method": "LoRA"},
                "test_values": (rng.random(N_TEST) < chance).astype(float).tolist(),
                "dev": {"accuracy" if base != "lm" else "loss": score(0.5)},
                **TUNING,
            },
            **RUN,
            **FACTS,
        }
        for base in ("lm", "encoder")
        for n, chance in ((8, 0.5), (32, 0.97))
        for draw in (0, 1, 2)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("incontext"), np.random.default_rng(0)
    for kind, records in (("prompts", make_prompts(rng)), ("runs", make_runs(rng))):
        (folder / kind).mkdir()
        for record in records:
            (folder / kind / f"{record['run_id']}.json").write_text(json.dumps(record))
    method = {
        "label": "LoRA r 8",
        "n_trainable": 1000,
        "time_ratio": CI,
        "vs_base": CI,
        "forward_bytes": BYTES,
        "gradient_bytes": BYTES,
        "memory_ratio": 2.1,
        "whole_ratio": 1.5,
        "forward_seconds": [1.0],
        "gradient_seconds": [2.5],
    }
    silent = method | {
        "label": "x",
        "memory_ratio": None,
        "whole_ratio": None,
        "forward_bytes": None,
        "gradient_bytes": None,
    }
    backward = {"base": "lm", "batch_size": 4, "seq_len": 16, "repeats": 3, "methods": [method, silent]}
    backward |= {"model": {}, "settings": {}, "device": "cpu", "versions": {}, "git_commit": None}
    (folder / "backward.json").write_text(json.dumps(backward))
    sweep = {
        "name": "incontext",
        "question": "Which? <b>Not bold.</b>",
        "command": "./launch.sh incontext c.py",
    }
    (folder / "sweep.json").write_text(json.dumps(sweep))
    write_incontext(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return write_incontext_report(folder).read_text().replace(f"{NO_BREAK}%", " %")


@pytest.fixture(scope="module")
def found(folder: Path, page: str) -> InContextComparison:
    return load_incontext(folder)


def test_the_page_says_the_verdict_and_opens_offline(page: str, found: InContextComparison) -> None:
    assert "&lt;b&gt;Not bold.&lt;/b&gt;" in page
    assert not re.search(r"<b>(Not bold|cut)", page)
    assert found.verdict[0].replace("<", "&lt;").replace(">", "&gt;") in page
    assert page.count("<figure>") == 4
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert_only_our_script(page)
    assert "MNLI-m 40.6 against 89.5; RTE 69.0 against 85.4" in page
    assert "./launch.sh incontext c.py" in page


def test_a_panel_a_task_and_base_with_a_line_a_way(found: InContextComparison) -> None:
    panels = list_panels(found)
    assert [(base, len(lines)) for _, base, lines in panels] == [("encoder", 1), ("lm", 3)] or [
        (base, len(lines)) for _, base, lines in panels
    ] == [("lm", 3), ("encoder", 1)]
    figure = plot_accuracy(found)
    assert len(figure.axes) == 2
    looks = find_looks(found)
    assert len(set(looks.values())) == len(looks) == 3
    by_title = {ax.get_title(loc="left"): ax for ax in figure.axes}
    drawn = {line.get_label() for line in by_title["T<1>, lm"].get_lines()}
    assert {"k-shot", "k-shot, calibrated", "LoRA r 8"} <= drawn
    assert "best prompt" in {line.get_label() for line in by_title["T<1>, encoder with a head"].get_lines()}


def test_each_way_has_a_panel_and_each_point_its_number_of_examples(found: InContextComparison) -> None:
    order = list(find_looks(found))
    rows = [lines for _, _, lines in list_panels(found)]
    lines = [line for row in rows for line in sorted(row, key=lambda line: order.index(line.label))]
    for unit in ("tokens", "seconds"):
        figure = plot_cost(found, unit)
        assert [ax.get_title(loc="left") for ax in figure.axes] == [line.label for line in lines]
        for ax, line in zip(figure.axes, lines, strict=True):
            costed = [(cost_of(point, unit), point) for point in line.points]
            expected = sorted((x, point.score.value) for x, point in costed if x is not None)
            [own] = [drawn for drawn in ax.get_lines() if drawn.get_linewidth() == 1.4] or [None]
            shown = [] if own is None else sorted(map(tuple, np.asarray(own.get_xydata()).tolist()))
            assert shown == expected
            numbers = sorted(text.get_text() for text in ax.texts)
            wanted = sorted(format_count(point.n) for x, point in costed if x is not None)
            assert numbers == (wanted or ["not timed"])
        assert figure.get_suptitle().startswith(f"Accuracy against {unit}")


def test_what_is_distinguishable_is_marked(found: InContextComparison) -> None:
    (task,) = found.tasks
    table = score_rows(task)
    rows = {(row[0], row[1]): i for i, row in enumerate(table.rows)}
    above = rows["lm, LoRA r 8", "32"]
    assert table.rows[above][6] == "better"
    assert above in table.flagged
    assert table.rows[rows["lm, k-shot", "8 (held: 3.5)"]][4] == "\u2013"
    assert "chosen by its test score, so it looks better than it is" in table.note


def test_costs_that_were_not_timed_are_dashes(found: InContextComparison) -> None:
    (task,) = found.tasks
    rows = {(row[0], row[1]): row for row in cost_rows(task).rows}
    assert rows["lm, LoRA r 8", "8"][3:7] == ("400", "5 s", "2k", "\u2013")
    assert rows["lm, k-shot", "0"][3:] == ("0", "0 s", "900", "4 s", "50 ms")
    untimed = dataclasses.replace(task.lines[0].points[0], learn=Cost(1.0, None))
    assert cost_of(untimed, "seconds") is None
    assert cost_of(untimed, "tokens") == 1.0 + untimed.answer.tokens


def test_draws_are_told_one_by_one(found: InContextComparison) -> None:
    table = draw_rows(found)
    assert table.columns[3:6] == ("draw 0", "draw 1", "draw 2")
    zero = next(row for row in table.rows if row[1:3] == ("lm, k-shot", "0"))
    assert zero[4:6] == ("\u2013", "\u2013")


def test_the_terminal_says_the_verdict_first(folder: Path, found: InContextComparison) -> None:
    text = io.StringIO()
    backward = load_backward(folder)
    assert backward is not None
    print_incontext(found, backward, Console(file=text, width=150))
    lines = text.getvalue().splitlines()
    assert lines[0] == found.verdict[0]
    assert "not told by" not in text.getvalue()
    assert any("LoRA r 8" in line and "2.20 to 2.90" in line for line in lines)
    assert backward_rows(backward).rows[1][6] == "\u2013"


def test_a_folder_that_is_none_is_a_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LoraJaxError, match="is not a folder"):
        read_incontext_results(tmp_path / "none")
    with pytest.raises(LoraJaxError, match=r"sweep\.json is missing"):
        read_incontext_results(tmp_path)
    for name in ("sweep.json", "incontext.json"):
        (tmp_path / name).write_text((folder / name).read_text())
    (tmp_path / "incontext.json").write_text('{"kind": "other"}')
    with pytest.raises(LoraJaxError, match="of the kind 'other'"):
        read_incontext_results(tmp_path)


def test_a_comparison_of_other_records_is_told(folder: Path, page: str) -> None:
    from lora_jax.report.incontext.page import make_incontext_page

    results = read_incontext_results(folder)
    assert "compare them again" not in page
    assert "compare them again" in make_incontext_page(dataclasses.replace(results, runs=()), "")
