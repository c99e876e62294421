"""`lora-jax count`: GPT-2's published size, and every mistake one sentence."""

import json

import pytest

from tests.commands.conftest import Mistake, Run

GPT2 = ["d_model=768", "n_layers=12", "n_heads=12", "vocab_size=50257", "context=1024"]


def test_gpt2_has_its_published_size(run: Run) -> None:
    found = json.loads(run("count", *GPT2, "--seq-len", "1024", "--json")[1])
    assert found["n_params_total"] == 124_439_808
    assert found["n_params_with_head"] - found["n_params"] == 768 * 50257
    assert found["exact FLOPs / 6ND, N = n_params_total"] == pytest.approx(
        found["flops_per_token"] / (6 * found["n_params_total"])
    )
    assert 1 / 3 < found["d ln N_all / d ln N here"] < 1


def test_a_table_for_a_person(run: Run) -> None:
    out = run("count", *GPT2)[1]
    assert "124,439,808" in out


def test_mistakes_are_one_sentence(mistake: Mistake) -> None:
    mistake(["count", "d_modl=768"], "nearest: 'd_model'")
    mistake(["count", "d_model=768"], "no n_layers")
    mistake(["count", "d_model=wide", "n_layers=1"], "'wide'", "whole number")
    mistake(["count", "d_model=768", "n_layers=1", "norm=batch"], "layernorm or rmsnorm")
    mistake(["count", "d_model=768", "n_layers=1", "gated=maybe"], "true or false")
