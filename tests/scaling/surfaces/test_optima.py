"""The power laws of the best pairs: exact without noise, one letter where two go together."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.rates.grids import RateRun
from lora_jax.scaling.rates.tables import rate_runs
from lora_jax.scaling.surfaces.documents import read_surface, write_surface
from lora_jax.scaling.surfaces.results import SurfaceReport
from lora_jax.scaling.surfaces.surface import analyse, doubt_surfaces
from lora_jax.scaling.tables.table import read_table
from tests.scaling.surfaces.make_surfaces import AT, SIZES, best_at, given, surface, table

PLACES = ({"N": 8e7, "D": 8e9}, {"N": 1e10, "D": 1e12})


def report_of(runs: list[RateRun]) -> SurfaceReport:
    return analyse(given(runs), "lora-jax surface x.py", predict=PLACES)


def test_without_noise_the_exponents_and_predictions_are_those_of_the_truth() -> None:
    [series] = report_of(table(np.random.default_rng(0), noise=0)).series
    assert series.laws is not None
    for law, truth in ((series.laws.rate, AT["rate"]), (series.laws.batch, AT["batch"])):
        assert [law.exponents[v].value for v in "ND"] == pytest.approx(truth, rel=1e-5)
    inside, outside = series.predictions
    for found, place in ((inside, PLACES[0]), (outside, PLACES[1])):
        truth = best_at(place["N"], place["D"])
        assert (found.rate.value, found.batch.value) == pytest.approx(truth, rel=1e-4)
    assert inside.outside is None
    assert outside.outside is not None
    assert "N is 62.5 times above the largest" in outside.outside


def test_equal_errors_make_it_ordinary_regression() -> None:
    """Every size has the same grid around its own best pair and the same noise: NumPy's least squares."""
    runs, rng = [], np.random.default_rng(3)
    noise = 1e-4 * rng.standard_normal((9, 36))
    for (n, d), deviations in zip(SIZES, noise, strict=True):
        rate, batch = best_at(n, d)
        powers = 2.0 ** (np.arange(6) - 2.5)
        grid = (list(rate * powers), list(batch * powers))
        clean = surface((rate, batch), {"N": n, "tokens": d}, rng, 0, grid)
        runs += [
            replace(run, loss=(run.loss or 1) * math.exp(e)) for run, e in zip(clean, deviations, strict=True)
        ]
    [series] = report_of(runs).series
    assert series.laws is not None
    pairs = [(s.n_params or 0, s.n_tokens or 0, s.best) for s in series.surfaces]
    design = np.column_stack([np.ones(9), *np.log([[n, d] for n, d, _ in pairs]).T])
    for what in ("rate", "batch"):
        y = np.log([getattr(best, what).value for _, _, best in pairs])
        theirs = np.linalg.lstsq(design, y, rcond=None)[0]
        law = getattr(series.laws, what)
        assert [law.exponents[v].value for v in "ND"] == pytest.approx(theirs[1:], abs=2e-3)


def test_tokens_that_follow_the_size_are_one_letter() -> None:
    rng, runs = np.random.default_rng(0), []
    for n in (1e7, 4e7, 1.6e8, 6.4e8):
        runs += surface(best_at(n, 20 * n), {"N": n, "tokens": 20 * n}, rng, 1e-3)
    [series] = analyse(given(runs), "").series
    if series.laws is not None:
        assert (series.laws.letters, series.laws.along) == (("N",), ("D",))
    ok = [s for s in series.surfaces if s.best is not None]
    assert len(ok) >= 3


def test_too_few_sizes_have_no_power_law() -> None:
    runs = [run for run in table(np.random.default_rng(0)) if run.sizes["tokens"] == 1e9]
    [series] = analyse(given([r for r in runs if r.sizes["N"] < 1e8]), "").series
    assert series.laws is None
    assert series.missing is not None
    assert "at least 3" in series.missing
    words = " ".join(doubt_surfaces(given([r for r in runs if r.sizes["N"] < 1e8])))
    assert "2 sizes are too few" in words


def test_predictions_need_the_letters_of_the_laws() -> None:
    with pytest.raises(LoraJaxError, match="depend on N and D: give D too"):
        analyse(given(table(np.random.default_rng(0))), "", predict=[{"N": 1e9}])


@pytest.mark.parametrize(
    ("sizes", "words"),
    [({"batch": 8.0}, "one batch size, 8"), ({}, "does not say the batch size")],
)
def test_runs_without_several_batch_sizes_are_refused(sizes: dict[str, float], words: str) -> None:
    runs = [
        replace(run, sizes={"N": run.sizes["N"], "tokens": 1e9} | sizes)
        for run in table(np.random.default_rng(0))
    ]
    with pytest.raises(LoraJaxError, match=words):
        analyse(given(runs), "")


def test_a_report_is_written_and_read_whole(tmp_path: Path) -> None:
    report = report_of(table(np.random.default_rng(0)))
    write_surface(tmp_path, report)
    assert read_surface(tmp_path) == report


def test_step_law_is_found_in_its_runs(published: Path) -> None:
    """Li et al. 2025 (2503.04715): rate N^-0.713 D^0.307, batch D^0.571."""
    path = published / "step_law.csv"
    if not path.exists():
        pytest.skip("the runs of Step Law are not there")
    mapping = {"loss": "smooth loss", "n_params": "N", "n_tokens": "D", "batch_size": "bs"}
    [series] = analyse(rate_runs(read_table(path, mapping)), "").series
    assert all(s.best is not None for s in series.surfaces)
    assert len(series.surfaces) == 17
    assert series.is_skewed
    laws = series.laws
    assert laws is not None
    assert laws.rate.exponents["N"].low < -0.713 < laws.rate.exponents["N"].high
    assert laws.rate.exponents["D"].low < 0.307 < laws.rate.exponents["D"].high
    assert laws.batch.exponents["D"].low < 0.571 < laws.batch.exponents["D"].high
