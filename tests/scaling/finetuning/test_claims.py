"""Claims on made-up studies: held where they are true, refuted where false, else not told apart."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lora_jax.estimate import Estimate
from lora_jax.scaling.finetuning.claim_results import Band, Claim, Found, judge
from lora_jax.scaling.finetuning.claims import make_claims
from lora_jax.scaling.finetuning.contrasts import Contrast, mean_contrast, pool_seed_noise
from lora_jax.scaling.finetuning.early_curves import claim_early
from lora_jax.scaling.finetuning.rate_claims import claim_rates
from lora_jax.scaling.finetuning.study_runs import StudyRun, cells_of, loss_of
from tests.scaling.finetuning.made_up_study import METHODS, World, lora, make_study, write_curves

PARTS = {"full": METHODS["full"], "all": lora(4), "attention": lora(16, "attention"), "mlp": lora(8, "mlp")}


def claims(runs: list[StudyRun], number: int) -> list[Claim]:
    return [claim for claim in make_claims(runs, None) if claim.number == number]


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [(5.1, 19, "held"), (21, 40, "refuted"), (1, 4.9, "refuted"), (4, 11, "not told apart")],
)
def test_a_claim_is_judged_by_its_whole_interval(low: float, high: float, found: Found) -> None:
    assert judge(Estimate((low + high) / 2, None, (low, high)), Band(5.0, 20.0)) == found


@pytest.mark.parametrize(
    ("extra", "noise", "found"),
    [
        ({}, 0.001, ("held", "not told apart")),
        ({"LoRA r 1": 0.06}, 0.001, ("held", "held")),
        ({"LoRA r 64": 0.05}, 0.001, ("refuted", "refuted")),
        ({"LoRA r 64": 0.01}, 0.03, ("not told apart", "not told apart")),
    ],
)
def test_capacity(extra: dict[str, float], noise: float, found: tuple[Found, Found]) -> None:
    runs = make_study(World(extra=extra, noise=noise))
    assert tuple(claim.found for claim in claims(runs, 1)) == found


@pytest.mark.parametrize(
    ("world", "found"),
    [
        (World(ratio=10.0), "held"),
        (World(ratio=2.0), "refuted"),
        (World(ratio=5.0), "not told apart"),
    ],
)
def test_the_ratio_of_the_best_rates(world: World, found: Found) -> None:
    long, short = claims(make_study(world), 2)
    assert long.found == found
    assert long.value is not None
    assert long.value.low <= world.ratio <= long.value.high
    assert short.n_cells == 2  # 16 and 64 steps
    assert long.n_cells == 2


@pytest.mark.parametrize(("drift", "found"), [(0.0, "held"), (-0.4, "refuted")])
def test_the_drift_of_the_best_rate(drift: float, found: Found) -> None:
    world = World(rank_drift=drift, noise=0.0005)
    [claim] = claims(make_study(world, grid=(1 / 27, 1 / 9, 1 / 3, 1.0, 3.0)), 3)
    assert claim.value is not None
    assert claim.value.low * 0.99 <= 64**drift <= claim.value.high * 1.01
    assert claim.found == found


def test_intervals_of_the_rate_ratio_hold_the_truth() -> None:
    held = []
    for draw in range(100):
        runs = make_study(World(noise=0.004), {k: METHODS[k] for k in ("full", "LoRA r 4")}, draw=draw)
        cells = cells_of(runs)
        value = next(claim_rates(cells, pool_seed_noise(cells))).value
        if value is not None:
            held.append(value.low <= 10 <= value.high)
    assert len(held) > 95
    assert np.mean(held) >= 0.91


def test_intervals_of_a_difference_hold_the_truth() -> None:
    held = []
    for draw in range(150):
        runs = make_study(World(noise=0.004, extra={"LoRA r 4": 0.01}), sizes=(64, 1024), draw=draw)
        cells = cells_of(runs)
        pairs = [(a, b) for a in cells for b in cells if a.place == b.place and a.first.is_full]
        contrasts = [Contrast(((1.0, b), (-1.0, a))) for a, b in pairs if b.label == "LoRA r 4"]
        value = mean_contrast(contrasts, pool_seed_noise(cells))
        assert value is not None
        held.append(value.low <= 0.01 <= value.high)
    assert 0.9 <= np.mean(held) <= 0.99


@pytest.mark.parametrize(
    ("batch", "found"),
    [
        ({"full": 0.02, **{f"LoRA r {r}": 0.06 for r in (1, 4, 16, 64)}}, ("held", "held")),
        ({"full": 0.06, "LoRA r 64": 0.08}, ("refuted", "refuted")),
        ({}, ("not told apart", "held")),
    ],
)
def test_batches(batch: dict[str, float], found: tuple[Found, Found]) -> None:
    runs = make_study(World(batch=batch, noise=0.001), sizes=(4096,), batches=(8, 64))
    assert tuple(claim.found for claim in claims(runs, 5)) == found


@pytest.mark.parametrize(
    ("extra", "found"),
    [
        ({"attention": 0.04}, ("held", "held")),
        ({"mlp": 0.04}, ("refuted", "refuted")),
        ({}, ("not told apart", "held")),
    ],
)
def test_targets(extra: dict[str, float], found: tuple[Found, Found]) -> None:
    runs = make_study(World(extra=extra, noise=0.001), PARTS, sizes=(1024, 4096))
    assert tuple(claim.found for claim in claims(runs, 6)) == found


def test_flops_are_two_thirds_and_the_own_parameters() -> None:
    [claim] = claims(make_study(World()), 8)
    assert claim.found == "held"
    assert claim.value is not None
    assert claim.value.value == pytest.approx(2 / 3)


def test_a_best_rate_at_the_edge_takes_no_part() -> None:
    runs = make_study(World(), grid=(1 / 27, 1 / 9, 1 / 3, 1.0))
    for claim in make_claims(runs, None):
        if claim.number in (1, 2):
            assert claim.found == "not reachable at this scale"
            assert claim.n_at_edge > 0
            assert "edge" in claim.why


@pytest.mark.parametrize(("effect", "found"), [(0.0, "held"), (0.02, "refuted")])
def test_early_curves(tmp_path: Path, effect: float, found: Found) -> None:
    runs = make_study(World(), sizes=(1024, 4096))
    write_curves(tmp_path, runs, effect)
    claim = claim_early(cells_of(runs), tmp_path)
    assert claim.value is not None
    assert claim.value.value == pytest.approx(-effect * np.log(64), abs=1e-4)
    assert claim.found == found


def test_short_curves_say_nothing(tmp_path: Path) -> None:
    runs = make_study(World(), sizes=(64,))
    write_curves(tmp_path, runs, 0.0)
    assert claim_early(cells_of(runs), tmp_path).found == "not reachable at this scale"


def test_one_seed_and_one_cell_tell_no_error() -> None:
    runs = [run for run in make_study(World(), sizes=(1024,)) if run.seed == 0]
    claim = claims(runs, 1)[0]
    assert claim.value is None
    assert "nothing tells the error" in claim.why


def test_the_study_chooses_the_rate_with_the_most_seeds() -> None:
    runs = make_study(World(), sizes=(64,))
    lucky = [run for run in runs if run.label == "full" and run.seed == 0]
    best = min(lucky, key=lambda run: abs(run.learning_rate - 3e-3 / 3))
    runs[runs.index(best)] = replace(best, heldout_loss=0.5 * loss_of(best))
    [cell] = [cell for cell in cells_of(runs) if cell.label == "full"]
    assert cell.best_rate == pytest.approx(3e-3)
