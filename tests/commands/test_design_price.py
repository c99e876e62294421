"""`lora-jax design --target`: the price of a budget on devices that are named."""

import json
from pathlib import Path

import pytest

from lora_jax.compiling import start
from tests.commands.conftest import Mistake, Run
from tests.compiling.test_pricing import make_step, report_of


def test_a_design_is_priced_by_a_target(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    arguments = ["design", "--target", "N=1B,D=20B", "--target", "v5e:2x2", "--json"]
    found = json.loads(run(*arguments, "--hours", "10", "--utilisation", "0.5")[1])
    assert found["budget_flops"] == pytest.approx(36000 * 0.5 * 4 * 197e12)
    assert "10" in found["notes"][0]
    assert "hours on tpu-v5e:2x2" in found["notes"][0]
    assert "50 % of the peak, which is assumed" in found["notes"][0]
    report = report_of(make_step("a", 1e12, 1.0, 0.0), make_step("b", 4e14, 2.0, 2.0))
    monkeypatch.setattr(start, "compile_config", lambda *_: report)
    found = json.loads(run(*arguments, "--flops", "1e20", "--like", tmp_path / "mine.py")[1])
    assert "an estimate from the compiled program" in found["notes"][0]
    assert found["seconds"] == pytest.approx(found["spent_flops"] / 1e14), "of the bounds the slower"


def test_what_a_target_of_a_design_may_not_be(mistake: Mistake) -> None:
    budget = ["design", "--flops", "1e20"]
    mistake([*budget, "--target", "h10:8"], "unknown device 'h10' (nearest: 'h")
    mistake([*budget, "--target", "h100:8", "--target", "v5e:2x2"], "--target names devices twice")
    mistake([*budget, "--utilisation", "0.5"], "--utilisation prices devices")
    mistake([*budget, "--target", "h100:8", "--mesh", "fsdp=8"], "name its config with --like")
    mistake(
        [*budget, "--target", "h100:8", "--like", "mine.py", "--utilisation", "0.5"],
        "leave out --utilisation",
    )
