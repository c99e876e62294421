"""Laws of fine-tuning from tables whose truth is known: laws, crossovers, capacity, needs, bad tables."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.finetuning.results import FinetuningReport
from lora_jax.scaling.finetuning.study import Inquiry, analyse
from lora_jax.scaling.tables.run_table import LeftOut, RunTable
from tests.scaling.finetuning.simulated import (
    CAPACITY,
    METHODS,
    F,
    N,
    make_ranks,
    make_runs,
    true_crossing,
)

EXACT = 1e-6  # noise of ln L: the law is then recovered


def ask(table: RunTable, **more: object) -> FinetuningReport:
    return analyse(table, replace(Inquiry(n_bootstrap=100), **more))  # pyright: ignore


@pytest.fixture(scope="module")
def exact() -> FinetuningReport:
    """Two methods with next to no noise."""
    return ask(make_runs(0, ("full", "lora"), EXACT, 1))


def test_without_noise_the_law_is_recovered(exact: FinetuningReport) -> None:
    for method in exact.methods:
        assert method.law is not None
        alpha, beta, e, _ = METHODS[method.name]
        found = method.law.params
        assert found["alpha"].value == pytest.approx(alpha, abs=1e-4)
        assert found["beta"].value == pytest.approx(beta, abs=1e-4)
        assert found["E"].value == pytest.approx(e, abs=1e-3)


def test_without_noise_the_crossover_is_the_closed_form(exact: FinetuningReport) -> None:
    (pair,) = exact.crossovers
    assert [c.at["N"] for c in pair.crossings] == pytest.approx(list(N))
    for crossing in pair.crossings:
        wanted = true_crossing("full", "lora", crossing.at["N"])
        assert crossing.finetune_tokens.value == pytest.approx(wanted, rel=1e-3)
        inside = F[0] <= wanted <= F[-1]
        assert crossing.found == ("identified" if inside else "extrapolated")
        assert crossing.above == "full", "its beta is the larger one"


def test_the_published_form_predicts_the_largest_best(exact: FinetuningReport) -> None:
    by_name = {form.name: form for form in exact.forms}
    assert exact.form == "multiplicative"
    chosen, additive = by_name["multiplicative"].rms, by_name["additive"].rms
    assert chosen is not None
    assert additive is not None
    assert chosen < 1e-4 < additive
    assert {h.what for h in by_name["multiplicative"].heldout} == {"F", "X"}
    assert max(h.at["F"] for h in by_name["multiplicative"].heldout) == pytest.approx(F[-1])


def test_a_need_reaches_its_loss(exact: FinetuningReport) -> None:
    for need in exact.needs:
        alpha, beta, e, top = METHODS[need.method]
        assert need.x.value is not None
        loss = e + top * (need.x.value / N[0]) ** -alpha * (F[-1] / F[0]) ** -beta
        assert loss == pytest.approx(need.loss, rel=1e-4)


def test_the_knee_is_found() -> None:
    report = ask(make_ranks(0, EXACT, 2, sizes=N[2:3]))
    (capacity,) = report.capacities
    assert (capacity.method, capacity.full, capacity.found) == ("lora", "full", "identified")
    assert capacity.params["k"].value == pytest.approx(CAPACITY["k"], rel=1e-3)
    assert capacity.params["g"].value == pytest.approx(CAPACITY["g"], rel=1e-3)
    for knee in capacity.knees:
        wanted = (knee.at["F"] / CAPACITY["c"]) ** (1 / CAPACITY["g"])
        assert knee.rank.value == pytest.approx(wanted, rel=1e-2)
        assert (knee.found == "identified") == (1 <= wanted <= 64)
    assert any("ranks" in doubt for doubt in report.doubts), "one law mixes them"


def test_without_an_excess_there_is_no_knee() -> None:
    (capacity,) = ask(make_ranks(1, capacity={"k": 0.0, "c": 1e5, "g": 1.0}, sizes=N[2:3])).capacities
    assert capacity.found == "not identified"
    assert not capacity.knees
    assert capacity.p is not None
    assert capacity.p > 0.05


def test_one_size_has_laws_in_f_alone() -> None:
    report = ask(make_runs(0, ("full", "lora"), EXACT, 1, sizes=N[:1]))
    assert any("no law in N" in note for note in report.notes)
    assert report.method("full").law is not None
    (pair,) = report.crossovers
    assert pair.crossings[0].at == {}
    assert pair.crossings[0].finetune_tokens.value == pytest.approx(
        true_crossing("full", "lora", N[0]), rel=0.01
    )
    assert report.needs == ()


def with_rates(table: RunTable, best: dict[str, float]) -> RunTable:
    """Return every run at three learning rates; those off the best are 3 % worse a step."""
    rates = np.array([1e-4, 1e-3, 1e-2])
    names = np.array(table.labels["method"])
    parts = []
    for rate in rates:
        away = np.array([abs(np.log10(rate / best[name])) for name in names])
        columns = {
            **table.columns,
            "loss": table["loss"] * (1 + 0.03 * away),
            "base_learning_rate": np.full(len(table), rate),
        }
        parts.append(columns)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    ids = tuple(f"{name} {k}" for k in range(3) for name in table.run_ids)
    labels = {name: values * 3 for name, values in table.labels.items()}
    return replace(table, run_ids=ids, columns=joined, labels=labels)


def test_a_method_at_an_edge_takes_no_part() -> None:
    table = with_rates(make_runs(0, ("full", "lora"), EXACT, 1), {"full": 1e-3, "lora": 1e-2})
    report = ask(table)
    full, lora = report.method("full"), report.method("lora")
    assert full.takes_part
    assert full.n_grids == len(N) * len(F)
    assert not full.n_at_edge
    assert lora.law is not None
    assert not lora.takes_part
    assert lora.n_at_edge == len(N) * len(F)
    assert "edge" in (lora.apart or "")
    assert report.crossovers == ()
    assert {need.method for need in report.needs} == {"full"}


def test_a_rate_that_diverged_is_beyond_the_edge() -> None:
    table = with_rates(make_runs(0, ("full",), EXACT, 1), {"full": 1e-2})
    gone = tuple(
        LeftOut(
            f"{n} {f}",
            "diverged",
            {
                "method": "full",
                "n_params": repr(float(n)),
                "finetune_tokens": repr(float(f)),
                "base_learning_rate": "0.1",
            },
        )
        for n in N
        for f in F
    )
    (full,) = ask(replace(table, left_out=gone)).methods
    assert (full.n_at_edge, full.n_diverged) == (0, len(N) * len(F))
    assert full.cells[0].rate is not None
    assert full.cells[0].rate.losses[-1] is None


@pytest.mark.parametrize(
    ("change", "asked", "words"),
    [
        (lambda t: t, {"names": ("ful", "lora")}, "nearest: 'full'"),
        (lambda t: t, {"names": ("full",)}, "names one method"),
        (lambda t: t, {"by": ("metod",)}, "metod"),
        (lambda t: t, {"law": "finetuning-d"}, "pretraining_tokens"),
        (lambda t: labelled(t, "task", ("a", "b")), {}, "--where task=a"),
        (lambda t: labelled(t, "tokenizer_fingerprint", ("a", "b")), {}, "bits per byte"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    change: Callable[[RunTable], RunTable], asked: dict[str, object], words: str
) -> None:
    table = make_runs(0, ("full", "lora"), EXACT, 1)
    if asked.get("law") == "finetuning-d":
        table = replace(table, columns={**table.columns, "n_tokens": table["finetune_tokens"] * 2})
    with pytest.raises(LoraJaxError, match=words):
        ask(change(table), **asked)


def labelled(table: RunTable, column: str, words: tuple[str, str]) -> RunTable:
    """Return the table with a column of text that takes two values in turn."""
    texts = tuple(words[i % 2] for i in range(len(table)))
    return replace(table, labels={**table.labels, column: texts})


def test_a_table_without_sets_lists_its_methods() -> None:
    table = make_runs(0, ("full", "lora"), EXACT, 1, sizes=N[:1], sets=F[:1])
    columns = {name: x for name, x in table.columns.items() if name != "finetune_tokens"}
    report = ask(replace(table, columns=columns))
    assert [m.name for m in report.methods] == ["full", "lora"]
    assert all(m.law is None and m.cells for m in report.methods)
    assert any("no law in F" in note for note in report.notes)


def test_another_batch_size_is_no_repeat() -> None:
    table = make_runs(0, ("full",), EXACT, 2)
    worse = table["seed"] == 1
    columns = {
        **table.columns,
        "loss": table["loss"] * np.where(worse, 1.1, 1.0),
        "batch_size": np.where(worse & (table["finetune_tokens"] > F[2]), 64.0, 8.0),
    }
    (full,) = ask(replace(table, columns=columns)).methods
    assert {cell.n_seeds for cell in full.cells if cell.at["F"] > F[2] * 1.1} == {1}
    assert {cell.n_seeds for cell in full.cells if cell.at["F"] < F[2] * 1.1} == {2}
