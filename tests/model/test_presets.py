"""Published models: their sizes from their shapes; each structure runs and trains on a small scale."""

import dataclasses
import math
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lora_jax.config import ModelConfig, OptimConfig
from lora_jax.data.tasks import Batch
from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.step import dropout_key, init_tuning, make_tune_step
from lora_jax.model.cache import extend, start_cache, unstack
from lora_jax.model.declare import count_parameters, declare, flops_per_token
from lora_jax.model.hooks import Pass
from lora_jax.model.presets import PRESETS, find_preset, reduced
from lora_jax.model.relative import find_buckets
from lora_jax.model.transformer import forward, read_head
from lora_jax.params import Params, Spec
from lora_jax.peft.method import adapt
from lora_jax.peft.methods.subset import Full
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.optimizers.optimizer import make_hyperparams
from lora_jax.training.pretraining import make_pretraining_step
from lora_jax.training.step import StepInput, TrainState, init_state

SHAPES = {key: preset.config for key, preset in PRESETS.items() if preset.config is not None}
# Presets that differ in size alone are one structure; those of no other test run in the default suite.
SMALL = {key: reduced(config) for key, config in SHAPES.items()}
STRUCTURES = {config: key for key, config in SMALL.items()}
NEW = ("palm", "chinchilla", "lamda")
each_structure = pytest.mark.parametrize(
    "config",
    [
        pytest.param(config, id=key, marks=() if key in NEW else pytest.mark.slow)
        for config, key in STRUCTURES.items()
        if config.causal
    ],
)


@pytest.mark.parametrize("key", SHAPES)
def test_every_size_is_within_one_per_cent_of_the_published_one(key: str) -> None:
    preset, n_params = PRESETS[key], count_parameters(SHAPES[key]).total
    assert preset.n_params is not None
    assert n_params == pytest.approx(preset.n_params, rel=0.01)


@pytest.mark.parametrize(
    ("key", "n_params"),
    [
        ("gpt2", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
        ("llama", 65_285_660_672),
        ("llama2", 68_976_648_192),
    ],
)
def test_released_checkpoints_have_these_sizes(key: str, n_params: int) -> None:
    assert count_parameters(SHAPES[key]).total == n_params


@pytest.mark.parametrize(("key", "billions"), [("gpt3", 174.6), ("llama", 65.3)])
def test_these_sizes_are_printed(key: str, billions: float) -> None:
    assert round(count_parameters(SHAPES[key]).total / 1e9, 1) == billions


def test_palms_size_is_its_matrices() -> None:
    """540.35 billion to the last digit: the scales of one norm a block are 0.002 more, of two 0.004."""
    matrices = sum(spec.size for path, spec in declare(SHAPES["palm"]).items() if "norm" not in path)
    assert round(matrices / 1e9, 2) == 540.35
    scales = count_parameters(SHAPES["palm"]).total - matrices
    assert scales == (118 + 1) * 18_432


def test_palms_smaller_models_have_their_sizes_too() -> None:
    """The same choices at 8 and 62 billion: arXiv 2204.02311, table 1."""
    for d_model, n_layers, n_heads, billions in ((4096, 32, 16, 8.63), (8192, 64, 32, 62.50)):
        config = dataclasses.replace(
            SHAPES["palm"], d_model=d_model, n_layers=n_layers, n_heads=n_heads, d_ff=4 * d_model
        )
        assert round(count_parameters(config).total / 1e9, 2) == billions


def test_the_projection_of_distances_is_in_chinchillas_sizes() -> None:
    """Gopher's 280 billion (arXiv 2112.11446), and the smallest models of Chinchilla's table A9."""
    sizes = (
        (16_384, 80, 128, 280_000, 1000),
        (512, 8, 8, 44, 0.5),
        (576, 9, 9, 57, 0.5),
        (640, 10, 10, 74, 0.5),
    )
    for d_model, n_layers, n_heads, millions, rounding in sizes:
        shape = {"d_model": d_model, "n_layers": n_layers, "n_heads": n_heads, "d_ff": 4 * d_model}
        config = dataclasses.replace(SHAPES["chinchilla"], **shape)
        assert count_parameters(config).total / 1e6 == pytest.approx(millions, abs=rounding)
        without = dataclasses.replace(config, positions="rope")
        assert abs(count_parameters(without).total / 1e6 - millions) > rounding


def test_published_flops() -> None:
    """6ND of GPT-3 is what its appendix D says, and PaLM's per token what its appendix B's formula gives."""
    gpt3, palm = SHAPES["gpt3"], SHAPES["palm"]
    assert 6 * count_parameters(gpt3).total * 300e9 == pytest.approx(3.14e23, rel=2e-3)
    n_matmul = count_parameters(palm).total
    formula = 6 * n_matmul + 12 * palm.n_layers * palm.n_heads * palm.head_dim * 2048
    assert flops_per_token(palm, 2048) == pytest.approx(formula, rel=1e-5)  # it counts the norms' scales too


def test_lamdas_137_billion_are_without_embeddings() -> None:
    assert round(count_parameters(SHAPES["lamda"]).non_embedding / 1e9) == 137


def test_what_is_not_published_is_nowhere_a_number() -> None:
    gpt4 = find_preset("GPT-4")
    assert (gpt4.config, gpt4.announced, gpt4.n_params, gpt4.n_tokens) == (None,) * 4


def test_the_table_of_the_lecture() -> None:
    """Model, creators, year, tokens and size of the lecture that this table answers."""
    rows = [
        ("GPT-2 XL", "OpenAI", 2019, 10e9, 1.5e9), ("GPT-3", "OpenAI", 2020, 300e9, 175e9),
        ("PaLM", "Google", 2022, 780e9, 540e9), ("Chinchilla", "DeepMind", 2022, 1.4e12, 70e9),
        ("LaMDA", "Google", 2022, 1.56e12, 137e9), ("LLaMA", "Meta", 2023, 1.4e12, 65e9),
        ("LLaMA-2", "Meta", 2023, 2e12, 70e9), ("GPT-4", "OpenAI", 2023, None, None),
    ]  # fmt: skip
    for title, *row in rows:
        preset = find_preset(title)
        assert [preset.creators, preset.year, preset.n_tokens, preset.announced] == row


def test_names_are_found_in_capitals_or_not() -> None:
    assert find_preset("llama-2") is find_preset("LLAMA2") is PRESETS["llama2"]
    with pytest.raises(LoraJaxError, match=r"no model is called 'gpt2-xxl' \(nearest: 'gpt2-xl'\)"):
        find_preset("gpt2-xxl")


@pytest.mark.parametrize("key", SHAPES)
def test_a_reduced_model_has_the_same_structure(key: str) -> None:
    large, small = SHAPES[key], SMALL[key]
    assert set(declare(large)) == set(declare(small))
    assert count_parameters(small).total < 50_000
    assert small.n_heads * small.head_dim / small.d_model == large.n_heads * large.head_dim / large.d_model
    assert (small.kv_heads == small.n_heads, small.kv_heads == 1) == (
        large.kv_heads == large.n_heads,
        large.kv_heads == 1,
    )
    assert small.ff_width / small.d_model == pytest.approx(large.ff_width / large.d_model, rel=0.01)


def draw(specs: dict[str, Spec]) -> Params:
    """Return weights of the declared sizes, none of them zero, without a program for each size."""
    rng = np.random.default_rng(0)
    return {
        path: jnp.asarray(spec.mean + (spec.std or 0.1) * rng.standard_normal(spec.shape), jnp.float32)
        for path, spec in specs.items()
    }


def check_step(config: ModelConfig, step, state: TrainState, frozen: Params, given) -> None:
    """Take one step and look at the loss after it; every weight must have had a gradient."""
    before = {path: np.asarray(weight) for path, weight in state.trainable.items()}
    state, first = step(state, frozen, given)
    assert all((np.asarray(weight) != before[path]).any() for path, weight in state.trainable.items())
    parts = cast(tuple[Any, ...], state.opt_state)
    moments = cast(Params, next(part.mu for part in parts if isinstance(part, optax.ScaleByAdamState)))
    for path, moment in moments.items():
        if path.endswith("attn/k_bias"):  # all scores of a query rise with it, which a softmax does not see
            continue
        reached = np.asarray(moment) != 0
        if path == "relative_bias":  # a sequence has no distance of the farther buckets
            rows = sorted(set(find_buckets(jnp.arange(config.context), config.causal).tolist()))
            reached = reached[rows]
        assert reached.all(), f"{path}: {(~reached).sum()} of {reached.size} weights have no gradient"
    _, second = step(state, frozen, given)
    assert math.isfinite(first.loss)
    assert second.loss < first.loss


def every_token(config: ModelConfig, rows: int, length: int) -> np.ndarray:
    """Return rows of tokens in which each token of the vocabulary comes."""
    rng = np.random.default_rng(0)
    tokens = np.concatenate([rng.permutation(config.vocab_size) for _ in range(2 * rows)])
    return tokens[: rows * length].reshape(rows, length).astype(np.int32)


@each_structure
def test_a_step_trains_every_weight(config: ModelConfig) -> None:
    optim = OptimConfig(clip_norm=1.0)
    windows_BU = every_token(config, 6, config.context + 1)
    state = start(config, optim)
    step = jax.jit(make_pretraining_step(config, optim))
    check_step(config, step, state, {}, StepInput(windows_BU, make_hyperparams(optim, 1e-3)))


def start(config: ModelConfig, optim: OptimConfig) -> TrainState:
    specs = declare(config)
    return init_state(draw(specs), specs, make_optimizer(optim))


@pytest.mark.slow
def test_a_step_trains_every_weight_of_an_encoder() -> None:
    """BERT, whose pretraining is not here, by its classifier."""
    config, optim = dataclasses.replace(SMALL["bert-large"], n_classes=2), OptimConfig()
    B, T = 4, config.context
    ones_BT = np.ones((B, T), np.int32)
    batch = Batch(
        every_token(config, B, T),
        ones_BT,
        np.tile(np.arange(T, dtype=np.int32), (B, 1)),
        np.tile(np.arange(T, dtype=np.int32) % 2, (B, 1)),
        0 * ones_BT,
        np.zeros((B, T), np.float32),
        np.arange(B, dtype=np.int32) % 2,
        np.ones(B, np.float32),
    )
    method = Full().build(config)
    adapted = adapt(draw(declare(config)), method, 0)
    step = jax.jit(make_tune_step(config, Full(), optim))
    given = StepInput(batch, make_hyperparams(optim, 1e-3), dropout_key(0))
    check_step(config, step, init_tuning(adapted, method, optim), adapted.frozen, given)


@each_structure
def test_reading_in_parts_is_reading_at_once(config: ModelConfig) -> None:
    params, tokens = draw(declare(config)), every_token(config, 2, 12)
    weights = unstack(params, config.n_layers)
    whole = jax.jit(partial(forward, config))(params, tokens)
    assert whole.shape == (2, 12, config.vocab_size)
    assert np.isfinite(whole).all()
    assert np.asarray(whole).std() > 0.01

    @jax.jit
    def read(weights, tokens):
        cache = start_cache(config, weights, 2, 16)
        first, cache = extend(Pass(config), weights, cache, tokens[:, :11])
        last, _ = extend(Pass(config), weights, cache, tokens[:, 11:])
        return read_head(config, weights.outside, jnp.concatenate([first, last], axis=1))

    np.testing.assert_allclose(read(weights, tokens), whole, atol=5e-5)


def test_palms_shared_norm_is_two_equal_norms() -> None:
    """x + MLP(LN(x)) + Attention(LN(x)), and the gradient of the one norm that of both."""
    shared = SMALL["palm"]
    apart, tokens = dataclasses.replace(shared, shared_norm=False), every_token(shared, 2, 12)
    params = draw(declare(shared))

    def loss(config: ModelConfig, params: Params) -> jax.Array:
        return jnp.sin(forward(config, params, jnp.asarray(tokens))).mean()

    gradient = jax.jit(jax.value_and_grad(loss, 1), static_argnums=0)
    both = {**params, "blocks/mlp_norm/scale": params["blocks/attn_norm/scale"]}
    (one, found), (other, wanted) = gradient(shared, params), gradient(apart, both)
    assert float(one) == pytest.approx(float(other), abs=1e-6)
    wanted["blocks/attn_norm/scale"] += wanted.pop("blocks/mlp_norm/scale")
    for path, weight in found.items():
        np.testing.assert_allclose(weight, wanted[path], atol=1e-6, rtol=1e-4)


def test_a_shared_norm_wants_blocks_side_by_side() -> None:
    for parallel, placement in ((False, "pre"), (True, "post")):
        with pytest.raises(LoraJaxError, match=r"shared_norm is one norm before .*: set parallel_residual"):
            dataclasses.replace(SMALL["palm"], parallel_residual=parallel, norm_placement=placement)
