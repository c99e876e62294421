"""Approach 1: the envelope is the lowest curve at each compute, and its exponent is the law's."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lora_jax.documents import to_document
from lora_jax.errors import LoraJaxError
from lora_jax.scaling.optima.envelope import envelope, smooth_loss
from lora_jax.scaling.optima.training_curves import TrainingCurve, curves_of, read_curves
from lora_jax.scaling.tables.table import make_table

E, A, ALPHA, B, BETA = 1.8172, 477.83, 0.3473, 2143.4, 0.36717
EXPONENT = BETA / (ALPHA + BETA)
RESULTS = Path(__file__).parents[3] / "results" / "published" / "scaling_cpu"


def make_curves(n_sizes: int = 24, noise: float = 0.0, points: int = 200, hot: bool | None = False):
    rng = np.random.default_rng(0)
    curves = []
    for n in np.geomspace(1e7, 1e10, n_sizes):
        d = np.geomspace(n / 2, 400 * n, points)
        loss = (E + A * n**-ALPHA + B * d**-BETA) * np.exp(noise * rng.standard_normal(points))
        marks = None if hot is None else np.full(points, hot)
        curves.append(TrainingCurve(f"{n:.3g}", float(n), d, 6 * n * d, loss, hot=marks))
    return curves


def test_the_law_s_exponent_comes_back() -> None:
    found = envelope(make_curves(), n_bootstrap=200)
    assert found.exponents["a"].value == pytest.approx(EXPONENT, abs=0.003)
    assert found.exponents["b"].value == pytest.approx(1 - EXPONENT, abs=0.003)
    low, high = found.exponents["a"].interval
    assert low < EXPONENT < high
    assert found.verdict.is_believed
    assert (found.n_sizes, len(found.flops)) == (24, 1500)
    at = found.at(1e21)
    assert 6 * at.n_params.value * at.n_tokens.value == pytest.approx(1e21, rel=1e-6)


def test_the_envelope_is_the_lowest_curve_everywhere_and_lies_on_its_winner() -> None:
    curves = make_curves(8, noise=0.01, points=50)
    found = envelope(curves, smoothing=0, n_bins=97, n_bootstrap=100)
    for i, flops in enumerate(found.flops):
        there = [c for c in curves if c.flops[0] <= flops * (1 + 1e-9) and flops <= c.flops[-1] * (1 + 1e-9)]
        losses = {c.run_id: np.exp(np.interp(np.log(flops), np.log(c.flops), np.log(c.loss))) for c in there}
        assert found.loss[i] == pytest.approx(min(losses.values()))
        assert losses[found.run_ids[found.winner[i]]] == pytest.approx(found.loss[i])
        assert 6 * found.n_params[i] * found.n_tokens[i] == pytest.approx(flops)
        sizes = [c.n_params for c in there]
        assert found.fitted[i] == (min(sizes) < found.n_params[i] * (1 - 1e-9) < max(sizes) * (1 - 2e-9))


def test_units_of_n_and_the_order_of_the_curves_change_nothing_else() -> None:
    curves = make_curves(16)
    one = envelope(curves, n_bootstrap=100)
    other = envelope([replace(c, n_params=c.n_params / 1e6) for c in curves], n_bootstrap=100)
    again = envelope(curves[::-1], n_bootstrap=100)
    for name in ("a", "b", "G_D"):
        for found in (other, again):
            assert found.exponents[name].value == pytest.approx(one.exponents[name].value, rel=1e-9)
    assert 1e6 * other.n_params == pytest.approx(one.n_params)


def test_the_edges_are_left_out_and_would_have_biased_the_slope() -> None:
    found = envelope(make_curves(12), n_bootstrap=100)
    x, y = np.log(found.flops), np.log(found.n_params)
    everything = np.polyfit(x, y, 1)[0]
    assert abs(found.exponents["a"].value - EXPONENT) < abs(everything - EXPONENT) / 2
    assert not found.fitted[0]
    assert not found.fitted[-1]


def test_noise_that_picks_the_winners_is_seen_and_smoothing_lowers_its_bias() -> None:
    rough = envelope(make_curves(50, noise=0.02), n_bootstrap=100)
    smooth = envelope(make_curves(50, noise=0.02), smoothing=1.0, n_bootstrap=100)
    off, less = (abs(r.exponents["a"].value - EXPONENT) for r in (rough, smooth))
    assert off > 0.04
    assert less < off / 2
    assert "noise picks the winners" in rough.verdict.words


def test_uncooled_and_unknown_curves_are_flagged() -> None:
    assert "100 % of the fitted envelope was measured before the rate came down" in (
        envelope(make_curves(hot=True), n_bootstrap=100).verdict.words
    )
    assert "nothing says whether" in envelope(make_curves(hot=None), n_bootstrap=100).verdict.words


def test_few_sizes_are_flagged_or_refused() -> None:
    few = make_curves(8)[1::2]
    with pytest.raises(LoraJaxError, match=r"resamples of the curves|two sizes that win"):
        envelope(few, n_bootstrap=100)
    with pytest.raises(LoraJaxError, match="2 curves of fewer than 3 sizes"):
        envelope(few[:2])
    # five seeds each: every size survives most resamples
    seeds = [replace(c, run_id=f"{c.run_id}-{k}") for c in make_curves(20)[:5] for k in range(5)]
    verdict = envelope(seeds, n_bootstrap=100).verdict.words
    assert "3 sizes only win between others" in verdict


def test_branches_of_one_trunk_are_one_piece_of_evidence() -> None:
    curves = make_curves(16, noise=0.01)
    trunk = [replace(c, run_id=f"{c.run_id}-{k}", cluster=c.run_id) for c in curves for k in range(3)]
    apart = [replace(c, cluster="") for c in trunk]
    se = {
        name: envelope(c, n_bootstrap=200).exponents["a"].se or 0
        for name, c in (("runs", curves), ("branches", trunk), ("seeds", apart))
    }
    assert se["branches"] == pytest.approx(se["runs"], rel=0.5)
    assert se["seeds"] < se["branches"] / 1.5


def test_smoothing_keeps_a_power_law_and_its_ends() -> None:
    """ln L linear in ln D, evenly spaced: a centred mean changes nothing, at the ends as elsewhere."""
    d = np.geomspace(1e6, 1e8, 60)
    curve = TrainingCurve("line", 1e6, d, 6e6 * d, 50 * d**-0.1)
    assert np.exp(smooth_loss(curve, 0.5)) == pytest.approx(curve.loss, rel=1e-9)
    noisy = replace(curve, loss=curve.loss * np.exp(0.05 * np.random.default_rng(0).standard_normal(60)))
    error = np.log(curve.loss) - smooth_loss(noisy, 0.8)
    assert error[10:-10].std() < 0.05 / 2
    assert smooth_loss(noisy, 0) == pytest.approx(np.log(noisy.loss))


def test_a_results_folder_gives_its_curves() -> None:
    curves = read_curves(RESULTS)
    assert len(curves) > 50
    for curve in curves:
        assert curve.hot is not None
        assert curve.hot.any()  # some of it before the cooldown
        assert not curve.hot[-1]  # and the end after it
    first = curves[0]
    text = (RESULTS / "curves" / f"{first.run_id}.csv").read_text().splitlines()
    one, two = ([float(cell) for cell in line.split(",")] for line in text[1:3])
    assert first.n_tokens[1] == pytest.approx((one[1] + two[1]) / 2)
    assert first.loss[1] == two[3]
    assert len({c.cluster for c in curves}) < len(curves) / 3
    found = envelope(curves, n_bootstrap=100)
    assert "before the rate came down" in found.verdict.words
    told = json.loads(json.dumps(to_document(found.result())))
    assert sum(s["fitted"] for s in told["stretches"]) > 5
    assert told["exponents"]["a"]["value"] == found.exponents["a"].value


def test_a_missing_curve_or_column_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "curves").mkdir()
    (tmp_path / "runs.csv").write_text("run_id,n_params,n_tokens,flops,loss\none,10,20,1200,3\n")
    with pytest.raises(LoraJaxError, match=r"one\.csv does not exist"):
        read_curves(tmp_path)
    (tmp_path / "curves" / "one.csv").write_text("step,tokens,flops,loss\n1,2,3,4\n")
    with pytest.raises(LoraJaxError, match=r"no column 'n_tokens' \(nearest: 'tokens'\)"):
        read_curves(tmp_path)
    (tmp_path / "curves" / "one.csv").write_text("n_tokens,flops,loss\n1,2,much\n")
    with pytest.raises(LoraJaxError, match="not a number"):
        read_curves(tmp_path)


def test_a_table_s_sizes_are_curves() -> None:
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, 24), np.geomspace(1e8, 1e12, 60)))
    loss = E + A * n**-ALPHA + B * d**-BETA
    n, d, loss = (np.append(x, y) for x, y in ((n, 5e6), (d, 1e9), (loss, 4.0)))
    table = make_table("grid", n_params=n, n_tokens=d, loss=loss, cooled=np.ones(len(n)))
    curves, n_left = curves_of(table)
    assert (len(curves), n_left) == (24, 1)
    assert all(len(c.loss) == 60 for c in curves)
    found = envelope(curves, n_bootstrap=100)
    assert found.exponents["a"].value == pytest.approx(EXPONENT, abs=0.01)
    with pytest.raises(LoraJaxError, match="take approach 2"):
        curves_of(table.take(np.arange(24)))


def test_a_curve_that_is_none_is_an_error() -> None:
    d = np.geomspace(1e6, 1e7, 5)
    with pytest.raises(LoraJaxError, match="n_tokens that do not rise"):
        TrainingCurve("x", 1e6, d[::-1], 6e6 * d, d / d)
    with pytest.raises(LoraJaxError, match="loss not above 0"):
        TrainingCurve("x", 1e6, d, 6e6 * d, 0 * d)
    with pytest.raises(LoraJaxError, match="two points or more"):
        TrainingCurve("x", 1e6, d[:1], d[:1], d[:1])


def test_a_run_whose_optimizer_averages_weights_has_no_point_before_a_cooldown(tmp_path: Path) -> None:
    """Its rate stays, and its row says that it is cooled."""
    (tmp_path / "curves").mkdir()
    rows = ["run_id,n_params,n_tokens,flops,loss,seed,cooled"]
    runs = (("averaged", True, (1, 1, 1)), ("hot", False, (1, 1, 1)), ("wsd", True, (1, 1, 0)))
    for name, cooled, rates in runs:
        rows.append(f"{name},1000,300,1.8e6,3.0,0,{cooled}")
        points = [f"{100 * i},{6e5 * i},{4 - i / 3},{rate}" for i, rate in enumerate(rates, 1)]
        text = "\n".join(["n_tokens,flops,loss,learning_rate", *points])
        (tmp_path / "curves" / f"{name}.csv").write_text(text)
    (tmp_path / "runs.csv").write_text("\n".join(rows))
    hot = {curve.run_id: list(curve.hot) for curve in read_curves(tmp_path) if curve.hot is not None}
    assert hot == {"averaged": [False] * 3, "hot": [True] * 3, "wsd": [True, True, False]}
