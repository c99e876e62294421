"""How many lanes: a wider program only where it is clearly faster, fits, and is worth the measuring."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from lora_jax.config import RunConfig
from lora_jax.data import Dataset
from lora_jax.digests import read_object
from lora_jax.errors import LoraJaxError
from lora_jax.runs import lane_count
from lora_jax.runs.groups import Group, group_by_shape
from lora_jax.runs.lane_count import (
    Measured,
    choose_lane_count,
    format_choice,
    measure,
    memory_limit,
    require_memory,
    settle_lane_count,
)
from lora_jax.runs.plan import plan_runs
from lora_jax.runs.sweep import expand, over, overlay
from lora_jax.target import find_device

LARGE = 1e15  # bytes


def make_group(base: RunConfig, n_trunks: int, n_steps: int = 10**6) -> Group:
    long = overlay(base, {"n_tokens": n_steps * base.tokens_per_step})
    runs = expand(long, over("seed", range(n_trunks)))
    [group] = group_by_shape(plan_runs(runs, (), find_device("h200")))
    return group


def speeds(table: dict[int, float | None], asked: list[int]) -> Callable[[int], Measured]:
    """Return a machine that has these speeds and takes a second to measure one."""

    def measure(width: int) -> Measured:
        asked.append(width)
        return Measured(width, table[width], 1e6 * width, 1.0)

    return measure


IDEAL: dict[int, float | None] = {1: 1e4, 2: 2e4, 4: 4e4, 8: 8e4, 16: 16e4}


@pytest.mark.parametrize(
    ("table", "n_trunks", "lanes", "asked", "reason"),
    [
        (IDEAL, 40, 16, [1, 2, 4, 8, 16], "at most 16"),
        (IDEAL, 16, 16, [1, 2, 4, 8, 16], "at most 16"),
        (IDEAL, 7, 4, [1, 2, 4], "7 trunks"),
        (IDEAL | {8: 4.2e4}, 16, 4, [1, 2, 4, 8], "8 are not clearly faster"),
        (IDEAL | {2: 1.05e4}, 16, 1, [1, 2], "2 are not clearly faster"),
        (IDEAL | {8: None}, 16, 4, [1, 2, 4, 8], "8 do not fit"),
    ],
)
def test_the_widest_that_clearly_pays_is_taken(
    base: RunConfig, table: dict[int, float | None], n_trunks: int, lanes: int, asked: list[int], reason: str
) -> None:
    tried: list[int] = []
    choice = choose_lane_count(make_group(base, n_trunks), speeds(table, tried), LARGE)
    assert (choice.lanes, choice.n_trunks, choice.reason) == (lanes, n_trunks, reason)
    assert tried == asked == [found.lanes for found in choice.measured]


def test_what_memory_does_not_hold_is_not_even_compiled(base: RunConfig) -> None:
    group, tried = make_group(base, 16), []
    choice = choose_lane_count(group, speeds(IDEAL, tried), 5 * group.lane_bytes)
    assert (choice.lanes, tried) == (4, [1, 2, 4])
    assert choice.reason.startswith("8 would take ")


@pytest.mark.parametrize(
    ("n_seconds", "asked"), [(5, [1]), (9.9, [1]), (15, [1, 2]), (10**4, [1, 2, 4, 8, 16])]
)
def test_a_short_group_is_not_measured_for_long(base: RunConfig, n_seconds: float, asked: list[int]) -> None:
    """A width takes a second to measure, which has to be a tenth of what is left at the speed so far."""
    tried: list[int] = []
    group = make_group(base, 16, n_steps=max(5, round(n_seconds * 1e4 / 16 / base.tokens_per_step)))
    assert group.n_tokens == pytest.approx(n_seconds * 1e4, rel=0.02)
    choose_lane_count(group, speeds(IDEAL, tried), LARGE)
    assert tried == asked


# ---- on this machine


def test_measuring_counts_tokens_and_xlas_memory(base: RunConfig, dataset: Dataset) -> None:
    group = make_group(base, 2)
    one, two = (measure(group, width, {base.data: dataset}, LARGE) for width in (1, 2))
    for found in (one, two):
        assert found.tokens_per_second is not None
        assert 1e2 < found.tokens_per_second < 1e8
        assert 0 < found.seconds < 120
    assert 1.7 * one.memory_bytes < two.memory_bytes < 2.3 * one.memory_bytes
    full = measure(group, 2, {base.data: dataset}, one.memory_bytes)
    assert full.tokens_per_second is None
    assert full.memory_bytes == two.memory_bytes


def test_the_memory_of_this_machine_is_known() -> None:
    limit = memory_limit()
    assert 1e8 < limit < 1e14
    assert jax.local_devices()[0].memory_stats() is None, "a CPU, whose memory is the machine's"


def test_lanes_that_xla_says_do_not_fit_are_refused(
    base: RunConfig, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = make_group(base, 2)
    require_memory(group, 2, {base.data: dataset})
    monkeypatch.setattr(lane_count, "memory_limit", lambda: 1e5)
    with pytest.raises(LoraJaxError, match=r"2 lanes of d8x1.* MB by XLA's count.*lower --lanes"):
        require_memory(group, 2, {base.data: dataset})


# ---- what was chosen is kept


def test_a_choice_holds_for_what_is_left_of_the_sweep(
    base: RunConfig, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    found = {"table": IDEAL, "asked": []}
    monkeypatch.setattr(
        lane_count, "measure", lambda group, width, *_: speeds(found["table"], found["asked"])(width)
    )

    def settle(n_trunks: int) -> int:
        return settle_lane_count(make_group(base, n_trunks), {base.data: dataset}, tmp_path, said.append)

    assert settle(5) == 4
    assert found["asked"] == [1, 2, 4]
    assert "4 of 5 trunks side by side" in said[-1]
    assert "1: 10,000, 2: 20,000, 4: 40,000" in said[-1]
    kept = read_object(tmp_path / "lanes.json", "mend it")
    assert [entry["lanes"] for entry in kept.values()] == [4]
    found["table"] = {1: 1e4, 2: 1e4}  # the machine is another now
    assert [settle(n) for n in (5, 3, 2)] == [4, 3, 2]
    assert found["asked"] == [1, 2, 4], "nothing was measured again"
    assert "lanes.json has it" in said[-1]
    assert settle(1) == 1
    assert settle(6) == 1, "a sweep that has grown is measured anew"


def test_a_group_has_one_line(base: RunConfig) -> None:
    group = make_group(base, 16)
    choice = choose_lane_count(group, speeds(IDEAL | {4: None}, []), LARGE)
    line = format_choice(group, choice, 8e9)
    assert line == (
        "d8x1, batch 4 x 16: 2 of 16 trunks side by side (4 do not fit); tokens/s by lanes 1: 10,000,"
        " 2: 20,000, 4: does not fit; 2 MB of 8.0 GB"
    )
    assert np.isfinite(group.lane_bytes)
