"""Counting: by hand for a small shape, against the model's own declaration, and against Hoffmann's tables."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lora_jax.config import LLAMA, ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import count_parameters as count_model
from lora_jax.model.declare import flops_per_token as flops_of_model
from lora_jax.scaling.tables.conventions import (
    Embeddings,
    convention_tables,
    exponent_ratio,
    flops_ratio,
    with_embeddings,
    without_embeddings,
)
from lora_jax.scaling.tables.counting import (
    Shape,
    count_parameters,
    flops_per_token,
    hoffmann_flops,
    hoffmann_parameters,
)
from lora_jax.scaling.tables.run_table import RunTable
from lora_jax.scaling.tables.table import make_table

GPT2: dict[str, Any] = dict(d_model=768, n_layers=12, n_heads=12, vocab_size=50257, context=1024)
MODELS = {
    "gpt2": ModelConfig(**GPT2),
    "gpt2, untied, no bias": ModelConfig(**GPT2, tied_head=False, bias=False),
    "llama": ModelConfig(
        d_model=512, n_layers=3, n_heads=8, vocab_size=32000, context=256, tied_head=False, **LLAMA
    ),
    "llama, shared key heads": ModelConfig(
        d_model=96, n_layers=2, n_heads=6, n_kv_heads=2, d_ff=200, vocab_size=512, context=128, **LLAMA
    ),
}


def shape_of(config: ModelConfig) -> Shape:
    return Shape(
        n_layers=config.n_layers,
        d_model=config.d_model,
        n_heads=config.n_heads,
        head_dim=config.head_dim,
        n_kv_heads=config.kv_heads,
        d_ff=config.ff_width,
        vocab_size=config.vocab_size,
        context=config.context if config.positions == "learned" else None,
        gated=config.mlp == "swiglu",
        bias=config.bias,
        norm=config.norm,
        tied_head=config.tied_head,
    )


def read_shapes(path: Path) -> list[tuple[Shape, dict[str, str]]]:
    with path.open() as file:
        return [
            (
                Shape(
                    n_layers=int(row["n_layers"]),
                    d_model=int(row["d_model"]),
                    n_heads=int(row["n_heads"]),
                    head_dim=int(row["kv_size"]),
                    d_ff=int(row["ffw_size"]),
                    vocab_size=32000,
                ),
                row,
            )
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("name", MODELS)
def test_counts_are_those_of_the_model(name: str) -> None:
    config = MODELS[name]
    model, counts = count_model(config), count_parameters(shape_of(config))
    assert counts == {
        "n_params": model.non_embedding,
        "n_params_with_head": model.with_head,
        "n_params_total": model.total,
    }
    for seq_len in (1, 100, 1024):
        assert flops_per_token(shape_of(config), seq_len) == flops_of_model(config, seq_len)


def test_gpt2_small_has_the_parameters_that_it_is_known_for() -> None:
    assert count_parameters(shape_of(MODELS["gpt2"]))["n_params_total"] == 124_439_808


def test_hoffmann_flops_give_the_ratios_of_table_a4(published: Path) -> None:
    shapes = read_shapes(published / "hoffmann_table_a4.csv")
    ratios = [hoffmann_flops(s) / (6 * hoffmann_parameters(s) * 2048) for s, _ in shapes]
    np.testing.assert_allclose(ratios, [1.025, 1.101, 1.083, 1.044, 1.033, 0.994], atol=5e-4)
    for (shape, row), ratio in zip(shapes, ratios, strict=True):
        assert round(ratio, 2) == float(row["ratio_table_A4"])
        assert hoffmann_flops(shape) == float(row["flops_per_2048_seq_formula"])
        # embedding and logits, two FLOPs a multiply-add, three passes
        ends = 2 * 3 * 2 * 2048 * 32000 * shape.d_model
        assert hoffmann_flops(shape, embeddings=True) - hoffmann_flops(shape) == ends


def test_hoffmann_parameters_are_those_of_table_a9(published: Path) -> None:
    for shape, row in read_shapes(published / "hoffmann_table_a9.csv"):
        assert hoffmann_parameters(shape) / 1e6 == pytest.approx(
            float(row["params_millions"]), rel=2e-4, abs=1
        )


def test_kaplans_and_chinchillas_n_convert_into_each_other(published: Path) -> None:
    n = np.geomspace(1e3, 1e12, 40)
    for embeddings in (Embeddings(), Embeddings(vocab_size=512, context=128, aspect=8.0)):
        total = with_embeddings(n, embeddings)
        assert np.all(total > n)
        np.testing.assert_allclose(without_embeddings(total, embeddings), n, rtol=1e-10)
        step = 1e-5
        slope = np.log(with_embeddings(n * np.exp(step), embeddings) / total) / step
        np.testing.assert_allclose(exponent_ratio(n, embeddings), slope, rtol=1e-4)
    assert np.all(np.diff(exponent_ratio(n)) > 0)
    shapes = [shape for shape, _ in read_shapes(published / "hoffmann_table_a9.csv")]
    exact = np.array([hoffmann_parameters(s) for s in shapes], dtype=float)
    inner = exact - np.array([32000 * s.d_model for s in shapes])
    np.testing.assert_allclose(with_embeddings(inner), exact, rtol=0.053)


def test_exact_flops_approach_6nd_as_models_grow_and_sequences_shrink() -> None:
    wide = Shape(n_layers=60, d_model=20_000, n_heads=160, vocab_size=1000, bias=False, norm="rmsnorm")
    assert flops_ratio(wide, 1) == pytest.approx(1, abs=2e-3)
    assert flops_ratio(wide, 1, "n_params_with_head") == pytest.approx(1, abs=1e-4)
    assert flops_ratio(wide, 100_000) > 1.5


def test_tables_by_convention(sweep) -> None:
    table: RunTable = sweep()
    tables = convention_tables(table)
    assert set(tables) == {
        f"{n}, {c}"
        for n in ("n_params", "n_params_with_head", "n_params_total")
        for c in (("6ND", "exact") if n == "n_params" else ("6ND", "exact", "as given"))
    }
    for key, one in tables.items():
        n_column, word = key.split(", ")
        assert one.run_ids == table.run_ids
        np.testing.assert_array_equal(one.variable("N"), table[n_column])
        np.testing.assert_array_equal(one.variable("D"), table["n_tokens"])
        expected = {"6ND": 6 * table[n_column] * table["n_tokens"], "exact": table["flops_exact"]}
        np.testing.assert_array_equal(one.variable("C"), expected.get(word, table["flops"]))
    same = make_table("x", n_params=[2.0], n_params_total=[2.0], n_tokens=[3.0], loss=[1.0])
    assert list(convention_tables(same)) == ["n_params, 6ND"]


def test_shapes_that_cannot_be_get_one_sentence(sweep) -> None:
    shape = Shape(n_layers=2, d_model=12)
    assert set(count_parameters(shape)) == {"n_params"}
    with pytest.raises(LoraJaxError, match="no vocab_size"):
        flops_per_token(shape, 8)
    for change, message in (
        ({"n_layers": 0}, "n_layers is 0"),
        ({"d_ff": 1.5}, "d_ff is 1.5"),
        ({"n_heads": 5}, "no multiple"),
        ({"head_dim": 7}, "no multiple"),
    ):
        with pytest.raises(LoraJaxError, match=message):
            replace(shape, **change)
    with pytest.raises(LoraJaxError, match="above 0"):
        with_embeddings(-1.0)
    with pytest.raises(LoraJaxError, match="above 0"):
        without_embeddings(-1e9)
    wrongs: tuple[dict[str, Any], ...] = (
        {"vocab_size": 0},
        {"context": -1},
        {"aspect": 0.0},
        {"aspect": np.nan},
    )
    for wrong in wrongs:
        with pytest.raises(LoraJaxError, match="above 0, context at least 0"):
            Embeddings(**wrong)
    with pytest.raises(LoraJaxError, match="has none of n_params"):
        convention_tables(make_table("x", n_tokens=[1.0], loss=[1.0]))
