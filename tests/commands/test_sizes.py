"""`lora-jax sizes`: the table, its numbers by hand, the law's losses, and every mistake one sentence."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from lora_jax.commands import sizes
from lora_jax.model.presets import PRESETS
from lora_jax.report.sizes.rows import cost_rows, size_rows
from lora_jax.scaling.tables.table import RunTable, make_table
from tests.commands.conftest import Mistake, Run

TRUTH = {"E": 1.5, "A": 400.0, "alpha": 0.34, "B": 1200.0, "beta": 0.35}


@pytest.fixture(autouse=True)
def runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of a known law in place of the published table, which the repository does not hold."""

    def read(path: str, *, drop_worst: int) -> RunTable:
        assert (path, drop_worst) == (sizes.TABLE, sizes.DROPPED)
        n_params = [float(n) for n in (1e8, 3e8, 1e9, 3e9, 1e10) for _ in range(6)]
        n_tokens = [d for _ in range(5) for d in (1e9, 3e9, 1e10, 3e10, 1e11, 3e11)]
        loss = [
            law_at(n, d) * (1 + 1e-4 * math.sin(7 * i))
            for i, (n, d) in enumerate(zip(n_params, n_tokens, strict=True))
        ]
        return make_table(path, n_params=n_params, n_tokens=n_tokens, loss=loss)

    monkeypatch.setattr("lora_jax.scaling.tables.table.read_table", read)


def law_at(n_params: float, n_tokens: float) -> float:
    return TRUTH["E"] + TRUTH["A"] * n_params ** -TRUTH["alpha"] + TRUTH["B"] * n_tokens ** -TRUTH["beta"]


def ask(run: Run, *arguments: object) -> dict[str, Any]:
    status, out, err = run("sizes", *arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def test_all_models_are_in_the_table(run: Run) -> None:
    out = run("sizes")[1]
    for preset in PRESETS.values():
        assert preset.title in out
    for number in ("1,557,611,200", "540,356,474,880", "68,976,648,192", "unpublished", "174,604,259,328"):
        assert number in out
    assert "Chinchilla's corpus and tokenizer" in " ".join(out.split())


def test_counts_are_whole_numbers(run: Run) -> None:
    for model in ask(run)["models"]:
        counts = {
            name: value
            for name, value in model.items()
            if name.endswith(("params", "tokens", "bytes", "len")) or name.startswith("flops")
        }
        assert len(counts) == 11
        if model["model"] == "GPT-4":
            assert {model[name] for name in counts} == {None}
            assert model["loss"] is None
        else:
            assert all(type(value) is int for value in counts.values()), counts


def test_the_numbers_of_one_model_by_hand(run: Run) -> None:
    (model,) = ask(run, "LLaMA-2")["models"]
    N, D = 68_976_648_192, 2_000_000_000_000
    assert (model["n_params"], model["n_tokens"], model["seq_len"]) == (N, D, 4096)
    assert model["flops_6nd"] == 6 * N * D
    # less the embedding, which is looked up, and the norms; the scores of 64 heads of 128 and the values
    n_matmul = N - 32_000 * 8192 - (2 * 80 + 1) * 8192
    assert model["flops_exact"] == (6 * n_matmul + 12 * 80 * 8192 * 4096) * D
    assert model["train_bytes"] == 16 * N
    assert model["cache_bytes"] == 2 * 2 * 80 * 8 * 128 * 4096
    assert model["serve_bytes"] == model["weights_bytes"] + model["cache_bytes"] == 2 * N + 1_342_177_280
    assert model["tokens_per_param"] == pytest.approx(29.0, abs=0.01)


def test_the_length_of_a_sequence_counts(run: Run) -> None:
    whole, half = (ask(run, "palm", *length)["models"][0] for length in ((), ("--seq-len", 1024)))
    assert whole["cache_bytes"] == 2 * half["cache_bytes"] == 2 * 2 * 118 * 256 * 2048
    assert whole["flops_exact"] - half["flops_exact"] == 12 * 118 * 48 * 256 * 1024 * whole["n_tokens"]


def test_the_loss_is_the_laws(run: Run) -> None:
    found = ask(run, "chinchilla", "bert-large")
    chinchilla, bert = found["models"]
    loss = chinchilla["loss"]
    low, high = loss["ci95"]
    assert low < loss["value"] < high
    assert loss["value"] == pytest.approx(law_at(chinchilla["n_params"], chinchilla["n_tokens"]), rel=2e-3)
    assert loss["beyond"] == pytest.approx(chinchilla["n_params"] * 1.4e12 / (1e10 * 3e11))
    assert bert["loss"] is None
    assert bert["cache_bytes"] == 0
    assert found["law"]["params"]["alpha"]["value"] == pytest.approx(TRUTH["alpha"], rel=0.02)


def test_without_the_runs_there_is_no_loss_and_that_is_said(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lora_jax.errors import LoraJaxError

    def refuse(*_: object, **__: object) -> RunTable:
        raise LoraJaxError("the table cannot be reached: connect to a network.")

    monkeypatch.setattr("lora_jax.scaling.tables.table.read_table", refuse)
    out = run("sizes", "gpt3")[1]
    assert "warning: no loss, because the table cannot be reached" in out
    assert "174,604,259,328" in out
    assert ask(run, "gpt3")["models"][0]["loss"] is None


def test_published_runs_give_chinchilla_its_loss(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fit of 240 runs that Besiroglu et al. 2404.10102 repeat: 1.82 + 482 N^-.35 + 2085 D^-.37, by L1."""
    monkeypatch.undo()
    monkeypatch.setenv("LORA_JAX_PUBLISHED", str(published))
    found = sizes.measure_sizes(["chinchilla"], None)
    loss, counted = found.models[0].loss, found.models[0].counted
    assert loss is not None
    assert counted is not None
    N, D = counted.n_params, 1.4e12
    assert loss.value == pytest.approx(1.8169 + 482.01 * N**-0.34781 + 2085.43 * D**-0.36585, rel=2e-3)
    low, high = loss.interval
    assert low < loss.value < high
    assert high - low < 0.1
    assert found.law.n_runs == 240
    assert found.law.verdict == "believe it"


def test_the_page_shows_what_the_command_prints(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("LORA_JAX_PUBLISHED", str(published))
    shown = [line.split() for line in (Path(__file__).parents[2] / "docs/sizes.md").read_text().splitlines()]
    found = sizes.measure_sizes([], None)
    for table in (size_rows(found), cost_rows(found)):
        for row in table.rows:
            assert " ".join(row).split() in shown


def test_mistakes_are_one_sentence(mistake: Mistake) -> None:
    mistake(["sizes", "gtp3"], "no model is called 'gtp3'", "nearest: 'gpt3'")
    mistake(["sizes", "--seq-len", "0"], "--seq-len is 0", "from 1 to")
    mistake(["sizes", "palm", "--seq-len", "4096"], "4096", "PaLM has a context of 2048")


def test_gpt4_has_no_length_to_check(run: Run) -> None:
    assert ask(run, "gpt4", "--seq-len", 10**6)["models"][0]["seq_len"] is None
