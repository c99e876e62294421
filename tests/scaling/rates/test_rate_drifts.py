"""How the best rate moves: verdicts, series, sizes that change together, the rule, and what is refused."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.estimate import Estimate
from lora_jax.report.transfer.conclusions import say_drift
from lora_jax.scaling.rates.documents import read_transfer, write_transfer
from lora_jax.scaling.rates.drifts import judge
from lora_jax.scaling.rates.grids import RateRun, sort_runs
from lora_jax.scaling.rates.records import read_folder
from lora_jax.scaling.rates.results import Series
from lora_jax.scaling.rates.tables import rate_runs
from lora_jax.scaling.rates.transfer import analyse, doubt_grids
from lora_jax.scaling.tables.table import read_table
from tests.scaling.rates.make_runs import WIDTHS, bowl, full_size, given

OURS = Path(__file__).parents[3] / "results" / "published" / "learning_rate"


def sweep(power: float = -0.5, axis: str = "width") -> list[RateRun]:
    rng = np.random.default_rng(0)
    runs = []
    for w in WIDTHS:
        best = 0.02 * (w / 16) ** power
        runs += bowl(best, full_size(**{axis: w}), rng, noise=5e-4, n_params=12.0 * w * w)
    return runs


def only(runs: list[RateRun]) -> Series:
    [series] = analyse(given(runs), "").series
    return series


@pytest.mark.parametrize("axis", ["width", "depth", "batch", "tokens"])
def test_a_drift_is_found_on_every_axis(axis: str) -> None:
    moving, still = (only(sweep(power, axis)).drifts[0] for power in (-0.5, 0.0))
    assert (moving.axis, moving.verdict, still.verdict) == (axis, "moves", "does not move")
    assert moving.slope is not None
    assert moving.slope.low < -0.5 < moving.slope.high


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ((-0.05, 0.08), "does not move"),
        ((0.01, 0.03), "does not move"),  # by no more than the tolerance
        ((0.2, 0.5), "moves"),
        ((-0.3, 0.1), "not told apart"),
    ],
)
def test_verdicts_follow_from_the_interval(ends: tuple[float, float], verdict: str) -> None:
    assert judge(Estimate(0, 1, ends), 0.1) == verdict


def test_scatter_beyond_the_errors_widens_the_interval() -> None:
    rng = np.random.default_rng(2)
    runs = []
    for w in WIDTHS:
        runs += bowl(0.02 * math.exp(0.3 * rng.standard_normal()), full_size(width=w), rng, noise=5e-4)
    drift = only(runs).drifts[0]
    assert drift.widened
    assert drift.scatter is not None
    assert drift.scatter > 3
    assert drift.slope is not None
    assert drift.slope.low < 0 < drift.slope.high


def test_other_axes_are_held() -> None:
    """The best rate falls with width and grows with batch; each slope is that of its own axis."""
    rng = np.random.default_rng(0)
    runs = []
    for w in WIDTHS:
        for b in (8, 16, 32):
            best = 0.01 * (w / 32) ** -0.5 * (b / 16) ** 0.5
            runs += bowl(best, full_size(width=w, batch=b), rng, noise=2e-4)
    width, batch = only(runs).drifts
    assert width.slope is not None
    assert batch.slope is not None
    assert width.slope.value == pytest.approx(-0.5, abs=0.05)
    assert batch.slope.value == pytest.approx(0.5, abs=0.05)


def test_two_lengths_have_a_ratio_and_give_no_rule() -> None:
    """The best rate of the length 4e6 is 0.7 times that of 1e6, at each of four widths."""
    rng = np.random.default_rng(3)
    runs = []
    for w in WIDTHS:
        for tokens, times in ((1e6, 1.0), (4e6, 0.7)):
            best = 0.01 * (w / 32) ** -0.5 * times
            runs += bowl(best, full_size(width=w, tokens=tokens), rng, noise=2e-4)
    series = only([replace(run, settings={"optim.lr_size_exponent": "0"}) for run in runs])
    drift = next(drift for drift in series.drifts if drift.axis == "tokens")
    assert (drift.n_sizes, drift.n_bowls, drift.verdict) == (2, 2 * len(WIDTHS), "moves")
    assert drift.slope is not None
    low, value, high = (4**power for power in (drift.slope.low, drift.slope.value, drift.slope.high))
    assert low < 0.7 < high
    assert value == pytest.approx(0.7, rel=0.05)
    said = say_drift(drift, 0.1)
    assert "from two sizes only" in said
    assert f"changes by a factor of {value:.2f} ({low:.2f} to {high:.2f})" in said
    assert "Two sizes of tokens, 1,000,000 and 4,000,000, give no rule" in " ".join(series.rule.words)
    assert "horizon_exponent" not in (series.rule.code or "")


def test_the_ratio_of_two_lengths_is_that_of_their_best_rates() -> None:
    """One grid of each length: nothing is averaged, and the error is that of two best rates."""
    rng = np.random.default_rng(4)
    runs = [r for d, best in ((1e6, 0.01), (4e6, 0.02)) for r in bowl(best, full_size(tokens=d), rng)]
    [drift] = only(runs).drifts
    short, long = (b.best for b in only(runs).bowls)
    assert drift.slope is not None
    assert short is not None
    assert long is not None
    assert 4**drift.slope.value == pytest.approx(long.rate.value / short.rate.value)
    assert short.rate.se is not None
    assert long.rate.se is not None
    assert drift.slope.se is not None
    assert drift.slope.se * math.log(4) >= math.hypot(short.rate.se, long.rate.se)


def test_sizes_that_change_together_are_one_drift() -> None:
    rng = np.random.default_rng(0)
    runs = [r for w in WIDTHS for r in bowl(0.01, full_size(width=w, tokens=1e6 * w), rng)]
    [drift] = only(runs).drifts
    assert (drift.axis, drift.along) == ("width", ("tokens",))


def test_parametrisations_are_series_and_heads_follow_the_width() -> None:
    runs = []
    for name, power in (("default", -0.5), ("mup", 0.0)):
        for run in sweep(power):
            settings = {"model.n_heads": f"{run.sizes['width'] / 8:g}"}
            if name == "mup":
                settings |= {"model.parametrisation": name, "model.base_width": "16"}
            runs.append(replace(run, settings=settings))
    standard, mup = analyse(given(runs), "").series
    assert (standard.label, mup.label) == ("standard", "mup")
    assert mup.follows == ("model.n_heads",)
    assert [(d.axis, d.verdict) for d in standard.drifts] == [("width", "moves"), ("N", "moves")]
    assert [(d.axis, d.verdict) for d in mup.drifts] == [("width", "does not move")]
    assert mup.rule.code is not None
    assert "parametrisation='mup', base_width=16" in mup.rule.code


def test_the_rule_corrects_the_exponent() -> None:
    """Rates were set as N^-0.5 and the best of them still falls as N^-0.25: the exponent is 0.75."""
    rule = only([replace(run, settings={"optim.lr_size_exponent": "0.5"}) for run in sweep(-0.5)]).rule
    assert rule.code is not None
    assert rule.learning_rate is not None
    exponent = float(rule.code.partition("lr_size_exponent=")[2].rstrip(")"))
    assert exponent == pytest.approx(0.75, abs=0.03)
    at_reference = 0.02 * (math.sqrt(100_000 / 12) / 16) ** -0.5
    assert rule.learning_rate.low < at_reference < rule.learning_rate.high


def test_the_rule_follows_batch_and_length() -> None:
    """The best rate grows as the root of the batch and falls as D^-0.3: what our configuration can hold."""
    rng = np.random.default_rng(0)
    runs = []
    for b in (8, 16, 32):
        for d in (1e6, 4e6, 1.6e7):
            best = 0.01 * (b / 16) ** 0.5 * (d / 4e6) ** -0.3
            runs += bowl(best, full_size(batch=b, tokens=d), rng, noise=1e-4)
    rule = only([replace(run, settings={"optim.lr_size_exponent": "0"}) for run in runs]).rule
    assert rule.code is not None
    fields = dict(part.split("=") for part in rule.code.removeprefix("OptimConfig(").rstrip(")").split(", "))
    assert float(fields["horizon_exponent"]) == pytest.approx(0.3, abs=0.03)
    base_batch, base_tokens = float(fields["base_batch"]), float(fields["base_tokens"])
    at_base = 0.01 * (base_batch / 16) ** 0.5 * (base_tokens / 4e6) ** -0.3
    assert float(fields["learning_rate"]) == pytest.approx(at_base, rel=0.05)


def test_a_report_is_written_and_read_whole(tmp_path: Path) -> None:
    report = analyse(given(sweep()), "lora-jax transfer x.py")
    write_transfer(tmp_path, report)
    assert read_transfer(tmp_path) == report


def with_one_rate(run: RateRun) -> RateRun:
    return replace(run, rate=0.01)


def with_tied_decay(run: RateRun) -> RateRun:
    return replace(run, settings={"optim.weight_decay": f"{run.rate:g}"})


@pytest.mark.parametrize(
    ("change", "words"),
    [(with_one_rate, "one learning rate, 0.01"), (with_tied_decay, "changes optim.weight_decay whenever")],
)
def test_grids_that_tell_nothing_are_refused(change: Callable[[RateRun], RateRun], words: str) -> None:
    with pytest.raises(LoraJaxError, match=words):
        sort_runs([change(run) for run in sweep()], "made up")


def test_what_cannot_be_told_is_said_before_training() -> None:
    runs = sweep()
    few = [run for run in runs if run.rate < 0.009 and run.sizes["width"] < 64]
    assert doubt_grids(given(runs)) == []
    too_few_rates, too_few_sizes = doubt_grids(given(few))
    assert "fewer than 4 rates" in too_few_rates
    assert "two sizes show a ratio and no law" in too_few_sizes


def test_heads_that_get_wider_are_doubted_where_a_base_sets_the_rates() -> None:
    def with_heads(run: RateRun, heads: float) -> RateRun:
        return replace(run, settings={"model.parametrisation": "mup", "model.n_heads": f"{heads:g}"})

    assert doubt_grids(given([with_heads(run, run.sizes["width"] / 8) for run in sweep()])) == []
    [line] = doubt_grids(given([with_heads(run, 2) for run in sweep()]))
    assert "heads get wider" in line
    assert "n_heads grow" in line


def test_one_size_with_a_best_rate_has_no_drift() -> None:
    """Of the other sizes three rates are left, which have no best one."""
    runs = [run for run in sweep() if run.sizes["width"] == 32 or run.rate < 0.005]
    drift = only(runs).drifts[0]
    assert (drift.slope, drift.verdict) == (None, None)
    assert drift.missing is not None
    assert "at least 2" in drift.missing


def test_our_records_are_read() -> None:
    found = read_folder(OURS)
    assert len(found.runs) == 20
    [series] = analyse(found, "").series
    assert [len(b.rates) for b in series.bowls] == [5] * 4
    assert [b.best is not None for b in series.bowls] == [False, False, True, True]


def test_step_law_is_found_in_its_runs(published: Path) -> None:
    """Li et al. 2025 (arXiv 2503.04715): the best rate falls with N and grows with the batch."""
    path = published / "step_law.csv"
    if not path.exists():
        pytest.skip("the runs of Step Law are not there")
    mapping = {"loss": "smooth loss", "n_params": "N", "n_tokens": "D", "batch_size": "bs"}
    [series] = analyse(rate_runs(read_table(path, mapping)), "").series
    slopes = {drift.axis: drift.slope for drift in series.drifts}
    assert sum(b.best is not None for b in series.bowls) > 140
    of_size, of_batch = slopes["N"], slopes["batch"]
    assert of_size is not None
    assert of_batch is not None
    assert -0.75 < of_size.low < of_size.high < -0.4
    assert 0.2 < of_batch.low < of_batch.high < 0.5
