"""The next run: candidates are judged as if they had been added, and the one named is worth its cost."""

import json

import numpy as np
import pytest

from lora_jax.documents import to_document
from lora_jax.errors import LoraJaxError
from lora_jax.scaling.planning.next_run import next_run
from lora_jax.scaling.planning.spread import simulate_spread
from tests.scaling.planning.test_design import HOFFMANN, grid, table_of


def test_every_candidate_is_judged_as_if_it_had_been_added() -> None:
    n, d = grid()
    draws = {k: np.array([v, v]) for k, v in HOFFMANN.items()} | {"beta": np.array([0.26, 0.3])}
    found = next_run(table_of(n, d), HOFFMANN, 1e18, target_flops=1e20, draws=draws)
    forecast = found.forecast
    for one in found.candidates[::40]:
        jacobian = forecast.jacobian(np.append(n, one.cell.n_params), np.append(d, one.cell.n_tokens))
        variance = forecast.variance(jacobian)
        assert variance is not None
        assert one.half_width == pytest.approx(forecast.half_width(variance, len(n) + 1 - 5), rel=1e-6)
        assert one.narrower == pytest.approx(1 - one.half_width / found.half_width)
        assert one.cell.flops <= 1e18
    assert [c.narrower for c in found.candidates] == sorted(
        (c.narrower for c in found.candidates), reverse=True
    )


def test_the_run_named_is_nearly_the_best_and_the_cheapest_of_those() -> None:
    found = next_run(table_of(*grid()), HOFFMANN, 1e18, target_flops=1e20, flops_per_second=1e12)
    choice, best = found.choice, found.candidates[0]
    assert choice is not None
    assert choice.cell.seconds == pytest.approx(choice.cell.flops / 1e12)
    assert choice.narrower >= 0.9 * best.narrower
    for one in found.candidates:
        if one.cell.flops < choice.cell.flops:
            assert one.narrower < 0.9 * best.narrower or one.half_width > 1.1 * best.half_width
    assert found.best_per_flop.narrower_per_flop == max(c.narrower_per_flop for c in found.candidates)
    text = json.loads(json.dumps(to_document(found.report()), allow_nan=False))
    assert text["choice"]["n_params"] == choice.cell.n_params
    assert text["by_gain"][0]["narrower"] == best.narrower
    assert "the interval at the target goes from" in text["words"]


def test_simulated_fits_narrow_as_the_next_run_says() -> None:
    n, d = grid()
    found = next_run(table_of(n, d), HOFFMANN, 1e18, noise_sd=0.005, target_flops=1e20)
    assert found.choice is not None
    cell = found.choice.cell
    before = simulate_spread(found.forecast, n, d)
    after = simulate_spread(found.forecast, np.append(n, cell.n_params), np.append(d, cell.n_tokens))
    assert after.half_width / before.half_width == pytest.approx(1 - found.choice.narrower, rel=0.2)


def test_nothing_may_be_worth_buying() -> None:
    table = table_of(*grid())
    found = next_run(table, HOFFMANN, 1e14, target_flops=1e20, worth=0.5)
    assert found.choice is None
    assert "nothing on offer narrows the interval by more than 50 %" in found.words
    assert found.report().choice is None


def test_a_ladder_is_mended_by_leaving_its_line() -> None:
    n = np.geomspace(3e5, 6e7, 12)
    found = next_run(table_of(n, 20 * n), HOFFMANN, 1e17, target_flops=1e19)
    assert "D = 20 N in every run" in found.warnings[0]
    assert "too wide for any use" in found.words
    assert found.choice is not None
    assert found.choice.half_width < 1 < found.half_width
    assert found.report().before.loss_at_target is None


def test_a_next_run_that_cannot_be_named_is_refused() -> None:
    n, d = grid()
    with pytest.raises(LoraJaxError, match="plan a design"):
        next_run(table_of(n[:5], d[:5]), HOFFMANN, 1e18, target_flops=1e20)
    with pytest.raises(LoraJaxError, match="allow a dearer"):
        next_run(table_of(n, d), HOFFMANN, 1e10, target_flops=1e20)
