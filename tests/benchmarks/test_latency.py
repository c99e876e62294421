"""The latency table: what is timed, in what order, and what its trials are taken to say."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import latency, latency_findings
from benchmarks.figures import Provenance
from benchmarks.latency import ADAPTER_H, ADAPTER_L, BASE, MERGED, UNMERGED, VARIANTS, Timed, Variant
from benchmarks.latency_findings import make_table
from benchmarks.latency_shapes import (
    DIVISORS,
    PAPER,
    Size,
    choose_method,
    count_added,
    shape_model,
    shape_sizes,
)
from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import declare
from lora_jax.params import count
from lora_jax.report.kit.markup import to_markup
from lora_jax.report.latency.documents import load_latency
from lora_jax.report.latency.page import write_latency
from lora_jax.report.latency.results import CAME_OUT, DID_NOT, UNDECIDED, LatencyTable, Median
from lora_jax.report.latency.rows import latency_rows

TINY = ModelConfig(d_model=16, n_layers=2, n_heads=2, vocab_size=32, context=16)
SMALL = Size(2, 8, 0.05)


# ---- shapes


def test_undivided_it_is_gpt2_medium_at_the_sizes_of_table_1() -> None:
    assert count(declare(shape_model(1))) == 354_823_168
    assert [size.label for size in shape_sizes(1)] == ["32 x 512", "16 x 256", "1 x 128"]


@pytest.mark.parametrize("divisor", DIVISORS)
def test_what_is_divided_keeps_its_proportions(divisor: int) -> None:
    model, whole = shape_model(divisor), shape_model(1)
    assert model.head_dim == whole.head_dim
    assert [size.batch for size in shape_sizes(divisor)] == [32, 16, 1]
    for small, large in zip(shape_sizes(divisor), PAPER, strict=True):
        assert small.seq_len / model.d_model == large.seq_len / whole.d_model
    head, of_all = model.vocab_size * model.d_model, model.n_layers * 12 * model.d_model**2
    assert head / of_all == pytest.approx(50_257 / (24 * 12 * 1024), rel=1e-3)


@pytest.mark.parametrize("name", ["AdapterL", "AdapterH", "LoRA"])
@pytest.mark.parametrize("size", PAPER, ids=lambda size: size.label)
def test_a_method_adds_what_table_1_says(name: str, size: Size) -> None:
    model = shape_model(1)
    method: Any = choose_method(name, model, size.share_added)
    added, wanted = count_added(method, model), 0.5e6 if size.batch == 32 else 11e6
    one_rank = count_added(type(method)(rank=2), model) - count_added(type(method)(rank=1), model)
    assert abs(added - wanted) <= one_rank / 2 + 1000  # 1000: the base is 354.8 M, not 355


def test_a_divisor_that_cuts_a_head_is_refused() -> None:
    with pytest.raises(LoraJaxError, match="--divide is 3, but it must be one of 1, 2, 4, 8"):
        shape_model(3)


# ---- what is timed


@pytest.mark.slow  # compiles its programs, and what makes the weights
def test_variants_are_what_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, compile_pass = [], latency.compile_pass
    monkeypatch.setattr(
        latency, "compile_pass", lambda *given: compiled.append(given) or compile_pass(*given)
    )
    passes, methods = latency.prepare(TINY, SMALL, 0)
    assert tuple(passes) == tuple(methods) == VARIANTS
    assert len(compiled) == len(VARIANTS) - 1  # base and merged are one program
    logits = {name: np.asarray(one()) for name, one in passes.items()}
    np.testing.assert_allclose(logits[MERGED], logits[UNMERGED], atol=1e-5)
    for name in (MERGED, ADAPTER_L, ADAPTER_H):
        assert np.abs(logits[name] - logits[BASE]).max() > 1e-3, name
    latency.check_merged(passes, "float32")
    with pytest.raises(LoraJaxError, match="merged and unmerged LoRA differ"):
        latency.check_merged({**passes, MERGED: passes[BASE]}, "float32")


@pytest.mark.parametrize(
    ("apart", "dtype", "kept"),
    [(1e-4, "float32", True), (0.01, "float32", False), (0.01, "bfloat16", True), (np.nan, "float32", False)],
)
def test_only_rounding_may_lie_between_merged_and_unmerged(apart: float, dtype: str, kept: bool) -> None:
    logits = np.array([1.0, -4.0])
    passes: Any = {MERGED: lambda: logits, UNMERGED: lambda: logits + 4 * apart}
    with nullcontext() if kept else pytest.raises(LoraJaxError, match="merged and unmerged LoRA differ"):
        latency.check_merged(passes, dtype)


def test_a_trial_times_each_once_after_untimed_passes_in_an_order_of_its_own() -> None:
    ran: list[str] = []
    passes: Any = {name: lambda name=name: ran.append(name) for name in "abcd"}
    told: list[int] = []
    seconds = latency.run_trials(passes, 9, [0], told.append)
    assert {name: len(times) for name, times in seconds.items()} == dict.fromkeys("abcd", 9)
    assert told == list(range(1, 10))
    turn = 1 + latency.N_UNTIMED
    assert all(ran[start::turn] == ran[::turn] for start in range(turn))
    turns = ran[::turn]
    orders = [tuple(turns[4 * trial : 4 * trial + 4]) for trial in range(9)]
    assert all(sorted(order) == list("abcd") for order in orders)
    assert len(set(orders)) > 1
    again: list[str] = []
    passes = {name: lambda name=name: again.append(name) for name in "abcd"}
    latency.run_trials(passes, 9, [0], told.append)
    assert again == ran


# ---- what the trials say


def make_timed(overheads: Sequence[Sequence[float]], noise: float = 1e-3, drift: float = 0.0) -> list[Timed]:
    """Trials at the three sizes with these overheads: of merged, L, H and unmerged at each size.

    noise: of a pass, its relative sd; drift: of a trial, shared by its passes.
    """
    draw, timed = np.random.default_rng(0), []
    for size, base, row in zip(shape_sizes(4), (0.4, 0.07, 0.006), overheads, strict=True):
        trials = base * np.exp(drift * draw.normal(size=40))
        variants = [
            Variant(name, None, 0, tuple(trials * (1 + overhead) * (1 + noise * draw.normal(size=40))))
            for name, overhead in zip(VARIANTS, (0.0, *row), strict=True)
        ]
        timed.append(Timed(size, tuple(variants)))
    return timed


def table_of(timed: Sequence[Timed]) -> LatencyTable:
    provenance = Provenance("./launch.sh latency", "cpu", {"jax": "0"}, None, 0.0, None)
    return make_table(provenance, shape_model(4), 4, 0, timed)


def verdicts(timed: Sequence[Timed]) -> dict[str, str]:
    return {s.key: s.verdict for s in table_of(timed).statements}


AS_PUBLISHED = ([0, 0.022, 0.03, 0.02], [0, 0.05, 0.084, 0.05], [0, 0.207, 0.303, 0.2])


def test_the_papers_numbers_come_out() -> None:
    assert set(verdicts(make_timed(AS_PUBLISHED)).values()) == {CAME_OUT}


@pytest.mark.parametrize(
    ("row", "key"),
    [
        ([0.05, 0.05, 0.084, 0.05], "merged"),
        ([0, 0.01, 0.084, 0.05], "growth"),
        ([0, 0.05, 0.04, 0.05], "order"),
        ([0, 0.05, 0.084, -0.05], "unmerged"),
    ],
)
def test_one_size_that_is_the_other_way_round_decides_against(row: list[float], key: str) -> None:
    found = verdicts(make_timed([AS_PUBLISHED[0], row, AS_PUBLISHED[2]]))
    assert found == {**dict.fromkeys(found, CAME_OUT), key: DID_NOT}


def test_noise_leaves_everything_open() -> None:
    assert set(verdicts(make_timed(AS_PUBLISHED, noise=0.8)).values()) <= {UNDECIDED, DID_NOT}
    assert verdicts(make_timed([[0, 0.02, 0.02, 0.02]] * 3, noise=0.05))["merged"] == UNDECIDED


def test_intervals_that_touch_decide_nothing_and_one_against_decides() -> None:
    one = Median(2.5, (2.0, 3.0))
    cases = {CAME_OUT: (1.0, 1.9), UNDECIDED: (1.0, 2.1), DID_NOT: (3.1, 4.0)}
    for verdict, ends in cases.items():
        assert latency_findings.compare(one, Median(sum(ends) / 2, ends)) == verdict
    assert latency_findings.summarise([CAME_OUT, UNDECIDED, DID_NOT]) == DID_NOT
    assert latency_findings.summarise([CAME_OUT, UNDECIDED]) == UNDECIDED


def test_what_slows_a_whole_trial_is_no_overhead() -> None:
    quiet, busy = (table_of(make_timed(AS_PUBLISHED, noise=0.0, drift=d)) for d in (0.0, 0.5))
    for calm, rough in zip(quiet.sizes, busy.sizes, strict=True):
        for one, other in zip(calm.variants[1:], rough.variants[1:], strict=True):
            assert one.overhead is not None
            assert other.overhead is not None
            assert other.overhead.ci95 == pytest.approx(one.overhead.ci95)


def test_sentences_hold_the_numbers_of_the_trials() -> None:
    table = table_of(make_timed(AS_PUBLISHED))
    said = {s.key: s.words for s in table.statements}
    assert "AdapterH adds +3." in said["growth"] or "AdapterH adds +2.9" in said["growth"]
    assert said["merged"].count("overlap") == 3
    for statement in table.statements:
        assert statement.words.startswith(f"{statement.claim}: {statement.verdict}.")


# ---- what is written


def test_the_folder_holds_every_trial_the_figures_and_a_page(tmp_path: Path) -> None:
    timed = make_timed(AS_PUBLISHED)
    table = table_of(timed)
    page = write_latency(replace(table, others=1.234), tmp_path)
    written = json.loads((tmp_path / "latency.json").read_text())
    found = [variant["seconds"] for size in written["sizes"] for variant in size["variants"]]
    assert found == [list(variant.seconds) for one in timed for variant in one.variants]
    names = {f"{name}.{kind}" for name in ("overhead", "trials") for kind in ("png", "svg")}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == names
    text = page.read_text()
    for statement in written["statements"]:
        assert to_markup(statement["claim"]) in text
    assert "Other processes kept 1.23 cores busy" in text
    assert len(latency_rows(load_latency(tmp_path)).rows) == 3 * len(VARIANTS)


def test_the_papers_overheads_are_those_of_its_milliseconds() -> None:
    """Table 1 gives both: 1482.0, 354.8, 23.9 of AdapterL and 1492.2, 366.3, 25.8 of AdapterH."""
    table = {ADAPTER_L: (1482.0, 354.8, 23.9), ADAPTER_H: (1492.2, 366.3, 25.8)}
    for name, milliseconds in table.items():
        for column, whole in zip(latency_findings.PAPER, milliseconds, strict=True):
            ratio = whole / column.milliseconds - 1
            assert column.overheads[name] == pytest.approx(ratio, abs=6e-4), name
