"""Groups: trunks of one shape, rivals that differ in the optimizer's numbers alone, and what is refused."""

import dataclasses
from typing import Any

import pytest

from lora_jax.config import RunConfig
from lora_jax.errors import LoraJaxError
from lora_jax.runs.execute import form_groups
from lora_jax.runs.groups import Group, check_lanes, group_by_shape, group_rivals, make_rungs
from lora_jax.runs.plan import PlannedRun, plan_runs
from lora_jax.runs.sweep import chain, expand, over, overlay, product
from lora_jax.target import find_device
from lora_jax.training.trunk import RungAt, check_shapes

DEVICE = find_device("h200")


def plan(runs: list[RunConfig], finished: set[str] | None = None) -> list[PlannedRun]:
    return plan_runs(runs, finished or (), DEVICE)


def names(groups: list[Group]) -> list[list[str]]:
    return [[trunk[0].trunk_id for trunk in group.trunks] for group in groups]


@pytest.fixture
def sweep(base: RunConfig) -> list[RunConfig]:
    """Two sizes, of each two seeds and two rates of two lengths."""
    tokens = over("n_tokens", [n * base.tokens_per_step for n in (20, 40)])
    seeds, rates = over("seed", [0, 1]), over("optim.learning_rate", [1e-3, 4e-3])
    return expand(base, product(over("model.d_model", [8, 16]), seeds, rates, tokens))


def test_runs_of_one_shape_are_a_group(base: RunConfig) -> None:
    together: list[dict[str, Any]] = [
        {"seed": 1},
        {"optim.learning_rate": 1e-4},
        {"optim.weight_decay": 0.0},
        {"optim.clip_norm": 9.0},
        {"optim.schedule": "cosine"},
        {"optim.warmup_steps": 9},
        {"optim.cooldown_fraction": 0.5},
        {"optim.lr_size_exponent": 0.0},
        {"data.unique_tokens": 640},
        {"n_tokens": 2 * base.n_tokens},
    ]
    apart: list[dict[str, Any]] = [
        {"model.d_model": 16},
        {"model.norm": "layernorm"},
        {"optim.batch_size": 2},
        {"data.seq_len": 8},
        {"optim.beta1": 0.8},
        {"optim.beta2": 0.9},
        {"optim.eps": 1e-6},
    ]
    groups = group_by_shape(plan(expand(base, chain([{}], together, apart))))
    assert sorted(len(group.trunks) for group in groups) == [1] * len(apart) + [len(together)]
    largest = max(groups, key=lambda group: len(group.trunks))
    assert sum(len(trunk) for trunk in largest.trunks) == 1 + len(together), "n_tokens is a branch"
    check_shapes([item.run for trunk in largest.trunks for item in trunk])
    for change in apart:
        [name] = change
        with pytest.raises(LoraJaxError, match=rf"whose ({name.split('.')[-1]}|model|optimizer) differs"):
            check_shapes([base, overlay(base, change)])


def test_groups_hold_every_run_that_is_not_finished_once(sweep: list[RunConfig]) -> None:
    everything = plan(sweep)
    assert [len(group.trunks) for group in group_by_shape(everything)] == [4, 4]
    done = {item.run_id for item in everything[:3]}
    groups = group_by_shape(plan(sweep, done))
    items = [item for group in groups for trunk in group.trunks for item in trunk]
    assert sorted(item.run_id for item in items) == sorted({i.run_id for i in everything} - done)
    assert group_by_shape(plan(sweep, {item.run_id for item in everything})) == []


def test_the_longest_trunk_comes_first(base: RunConfig) -> None:
    step = base.tokens_per_step
    runs = [overlay(base, {"seed": seed, "n_tokens": n * step}) for seed, n in enumerate((20, 60, 40))]
    [group] = group_by_shape(plan(runs))
    assert [trunk[0].run.n_steps for trunk in group.trunks] == [60, 40, 20]
    assert group.n_tokens == 120 * step


def test_rivals_differ_in_the_optimizers_numbers_alone(sweep: list[RunConfig]) -> None:
    groups = group_rivals(plan(sweep))
    assert [len(group.trunks) for group in groups] == [2] * 4
    for group in groups:
        first, second = (trunk[0].run for trunk in group.trunks)
        assert first != second
        assert dataclasses.replace(first, optim=second.optim) == second
        assert group.rungs == (RungAt(10, 1), RungAt(20, 1))  # of the 40 steps of the longest


def test_rivals_are_those_of_the_whole_plan(sweep: list[RunConfig]) -> None:
    everything = plan(sweep)
    whole = group_rivals(everything)
    done = {item.run_id for item in everything if item.run.optim.learning_rate == 1e-3}
    left = group_rivals(plan(sweep, done))
    assert [group.rungs for group in left] == [group.rungs for group in whole]
    pending = {item.trunk_id for item in plan(sweep, done) if not item.finished}
    assert names(left) == [[trunk for trunk in ids if trunk in pending] for ids in names(whole)]


@pytest.mark.parametrize(
    ("n_rivals", "n_most", "kept"),
    [(2, 16, [(1, 1)]), (5, 16, [(3, 2)]), (8, 16, [(4, 2)]), (8, 4, [(2, 1)] * 2), (5, 4, [(2, 1), ()])],
)
def test_half_are_kept_and_half_again(
    base: RunConfig, n_rivals: int, n_most: int, kept: list[tuple[int, ...]]
) -> None:
    rates = over("optim.learning_rate", [1e-3 * (1 + k) for k in range(n_rivals)])
    groups = group_rivals(plan(expand(base, rates)), n_most)
    assert [tuple(rung.n_kept for rung in group.rungs) for group in groups] == kept


def test_a_rung_lies_before_the_cooldown(base: RunConfig) -> None:
    rates = over("optim.learning_rate", [1e-3 * (1 + k) for k in range(8)])
    long = overlay(base, {"n_tokens": 100 * base.tokens_per_step, "optim.cooldown_fraction": 0.9})
    [group] = group_rivals(plan(expand(long, rates)))
    assert make_rungs(group) == (RungAt(10, 2),), "both at once"


# ---- what is refused


def test_more_lanes_than_memory_holds_are_refused_with_the_numbers(sweep: list[RunConfig]) -> None:
    groups = group_by_shape(plan(sweep))
    lane = max(group.lane_bytes for group in groups)
    check_lanes(groups, 4, 4.1 * lane)
    check_lanes(groups, 16, 4.1 * lane)  # there are four trunks
    check_lanes(groups, 1, 0.5 * lane)  # a single run is not the lanes' business
    with pytest.raises(LoraJaxError, match=r"4 lanes of d16x1, batch 4 x 16 would take .* MB.*--lanes 3 or"):
        check_lanes(groups, 4, 3.5 * lane)


def test_lanes_and_halving_that_cannot_be_are_refused(base: RunConfig, sweep: list[RunConfig]) -> None:
    with pytest.raises(LoraJaxError, match=r"--lanes is 0, but it must be auto or at least 1"):
        form_groups(plan(sweep), 0, halving=False)
    with pytest.raises(LoraJaxError, match=r"--halving compares .* --lanes is 1"):
        form_groups(plan(sweep), 1, halving=True)
    seeds = expand(base, over("seed", [0, 1]))
    with pytest.raises(LoraJaxError, match=r"--halving found no two runs that differ in the optimizer"):
        form_groups(plan(seeds), None, halving=True)
    with pytest.raises(LoraJaxError, match=r"2 lanes of d8x1"):
        form_groups(plan(sweep), None, halving=True, limit=1.0)
    planned = plan(sweep)
    most = max(item.memory_bytes for item in planned)
    assert form_groups(planned, None, halving=False, limit=most), "auto takes what there is room for"
    assert form_groups(planned, None, halving=False, limit=most / 2, n_devices=2), "a mesh holds a part each"
    with pytest.raises(LoraJaxError, match=r"a step of d16x1 .* would take .* and the memory is"):
        form_groups(planned, None, halving=False, limit=0.99 * most)
    assert not form_groups([dataclasses.replace(item, finished=True) for item in planned], None, False, 1.0)
