"""`lora-jax design`: a budget becomes runs, a table and a budget the next run."""

import json
from pathlib import Path

import pytest

from tests.commands.conftest import MAP, Mistake, Run


def test_a_budget_becomes_runs(run: Run, tmp_path: Path) -> None:
    arguments = ["design", "--flops", "1e18", "--target", "N=1B,D=20B"]
    out = run(*arguments, "--out", tmp_path)[1]
    assert "runs (1.00e18 FLOPs) would tell the loss at N = 1B, D = 20B" in out.splitlines()[0]
    assert "ladder, simulated" in out
    found = json.loads((tmp_path / "design.json").read_text())
    assert sum(cell["flops"] for cell in found["cells"]) == pytest.approx(1e18, rel=0.05)
    assert len({round(cell["tokens_per_parameter"], 3) for cell in found["cells"]}) >= 3
    assert found["simulated"]["half_width_percent"] < found["ladder"]["half_width_percent"]
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"design.png", "design.svg"}
    assert out.endswith(f"Report: {tmp_path / 'report.html'}\n")
    assert out.splitlines()[0][:40] in (tmp_path / "report.html").read_text()


def test_hours_are_measured(run: Run) -> None:
    found = json.loads(run("design", "--hours", "2", "--json")[1])
    assert found["budget_flops"] > 1e12
    assert found["seconds"] == pytest.approx(7200, rel=0.15)


def test_a_table_names_the_next_run(run: Run, theirs: Path) -> None:
    found = json.loads(
        run("design", theirs, *MAP, "--flops", "1e17", "--next", "--target", "N=50M,D=5B", "--json")[1]
    )
    assert found["choice"] is None or found["choice"]["flops"] <= 1e17
    assert found["by_gain"][0]["narrower"] >= found["by_gain"][-1]["narrower"]
    assert run("design", theirs, *MAP, "--flops", "1e17", "--next")[1].splitlines()[0]


def test_mistakes_are_one_sentence(mistake: Mistake, theirs: Path) -> None:
    mistake(["design"], "--flops or --hours")
    mistake(["design", "--flops", "1e18", "--hours", "2"], "--flops or --hours")
    mistake(["design", "--flops", "many"], "'many'")
    mistake(["design", "--flops", "1e18", "--prior", "kaplan3"], "nearest: 'kaplan'")
    mistake(["design", "--flops", "1e18", "--next"], "give the table")
    mistake(["design", "--flops", "1e3"], "raise the budget")
    mistake(["design", "--hours", "-1"], "above 0")
    mistake(["design", theirs, "--map", "loss=los", "--flops", "1e18"], "no column 'los'")


def test_runs_without_noise_are_a_sentence(mistake: Mistake, tmp_path: Path) -> None:
    """Of an exact table the noise is rounding, and a design that divides by it was a stack trace."""
    pairs = [(n, d) for n in (1e6, 1e7, 1e8, 1e9) for d in (1e8, 1e9, 1e10, 1e11)]
    rows = "\n".join(f"{n},{d},{1.7 + 400 * n**-0.34 + 400 * d**-0.28!r}" for n, d in pairs)
    (tmp_path / "exact.csv").write_text(f"n_params,n_tokens,loss\n{rows}\n")
    mistake(["design", tmp_path / "exact.csv", "--flops", "1e21"], "no noise to plan for", "--noise")
