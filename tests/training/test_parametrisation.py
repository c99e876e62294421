"""Rates, decay and eps follow from a weight's Spec and its base's, and at the base nothing changes."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import LLAMA, ModelConfig, OptimConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import declare
from lora_jax.model.parametrisation import resize
from lora_jax.params import Params, init
from lora_jax.training.lanes import compile_step
from lora_jax.training.loss import mean_loss
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.optimizers.lion import Lion
from lora_jax.training.optimizers.muon import Muon
from lora_jax.training.optimizers.optimizer import Hyperparams, Optimizer, Scale
from lora_jax.training.optimizers.schedule_free import ScheduleFree
from lora_jax.training.optimizers.sgd import SGD
from lora_jax.training.parametrisation import parametrisation_scales
from lora_jax.training.pretraining import init_pretraining, make_pretraining_step
from lora_jax.training.step import StepInput, init_state, make_step
from lora_jax.weight_class import WeightClass, classify

SHAPE: dict[str, Any] = dict(d_model=16, n_layers=2, n_heads=2, vocab_size=24, context=12)
BASE = ModelConfig(**SHAPE)
LIKE_LLAMA = ModelConfig(**SHAPE, **LLAMA, qk_norm=True, tied_head=False)
OPTIM = OptimConfig(lr_size_exponent=0, batch_size=4, weight_decay=0.0, clip_norm=1e6)
RATE = Hyperparams(np.float32(3e-3), np.float32(0.1), np.float32(1.0))


def grown(base: ModelConfig, name: Any, width: int = 64, depth: int = 8) -> ModelConfig:
    base_depth = base.n_layers if name == "completep" else None
    scaled = replace(base, parametrisation=name, base_width=base.d_model, base_depth=base_depth)
    return resize(scaled, width, depth)


def windows(n: int) -> list[np.ndarray]:
    """Return n batches of windows (4, 13), in each of which every one of 24 tokens is read and predicted."""
    drawn = []
    for seed in range(n):
        rng = np.random.default_rng(seed)
        drawn.append(
            np.stack([np.r_[t, t[:1]] for t in rng.permuted([range(24)] * 2, axis=1).reshape(4, 12)])
        )
    return drawn


@pytest.mark.parametrize("base", [BASE, LIKE_LLAMA])
@pytest.mark.parametrize(("name", "block_eps"), [("mup", 1 / 4), ("completep", 1 / 16)])
def test_adams_factors_are_those_of_the_papers_table(base: ModelConfig, name: str, block_eps: float) -> None:
    model = grown(base, name)
    specs, smaller = declare(model), declare(base)
    for path, scale in parametrisation_scales(model, make_optimizer(OPTIM), specs).items():
        if classify(specs[path]) is WeightClass.MATRIX:
            m_n = specs[path].fan_in / smaller[path].fan_in
            assert m_n == pytest.approx(4, rel=0.1)  # of a gated MLP d_ff is rounded
            assert (scale.rate, scale.decay) == (pytest.approx(1 / m_n), pytest.approx(m_n))
        else:
            assert (scale.rate, scale.decay) == (1, 1)
        assert scale.eps == pytest.approx(block_eps if path.startswith("blocks/") else 1)


@pytest.mark.parametrize("name", ["standard", "plain"])
def test_without_a_base_every_factor_is_one(name: Any) -> None:
    model = replace(BASE, parametrisation=name, d_model=64)
    scales = parametrisation_scales(model, make_optimizer(OPTIM), declare(model))
    assert set(scales.values()) == {Scale()}


@pytest.mark.bits
@pytest.mark.parametrize("name", ["mup", "completep"])
def test_at_its_base_a_model_trains_to_the_same_bits(name: Any) -> None:
    found = []
    for model in (BASE, grown(BASE, name, BASE.d_model, BASE.n_layers)):
        step = compile_step(make_pretraining_step(model, OPTIM), side_by_side=False)
        state = init_pretraining(replace(model, head_width=None, n_kv_heads=None), OPTIM, 0)
        for batch in windows(3):
            state, measured = step(state, {}, {}, StepInput(batch, RATE))
        found.append((state.trainable, measured.loss))
    jax.tree.map(np.testing.assert_array_equal, *found)


def test_abc_symmetry() -> None:
    """A start of 1/s, a multiplier of s and a rate of 1/s are the same training, whatever s each weight has.

    Yang & Hu 2021 (arXiv 2011.14522), section 3. Adam must have next to no eps, so every token must be seen.
    """
    specs, optimizer = declare(BASE), make_optimizer(replace(OPTIM, eps=1e-30))
    s = {path: 2.0 ** (number % 5 - 2) * 1.1 for number, path in enumerate(specs)}

    def losses(multipliers: dict[str, float]) -> list[float]:
        def loss_of_batch(params: Params, batch: Any, key: jax.Array | None) -> jax.Array:
            return mean_loss(BASE, {path: w * multipliers[path] for path, w in params.items()}, batch)

        start = {path: w / multipliers[path] for path, w in init(specs, 0).items()}
        # Biases start at 0, at which a gradient that is 0 exactly would be 0 / 0: norms' scales have none.
        scales = {path: Scale(rate=1 / multipliers[path], decay=0.0) for path in specs}
        step = compile_step(make_step(loss_of_batch, specs, optimizer, scales), side_by_side=False)
        state, found = init_state(start, specs, optimizer), []
        for batch in windows(8):
            state, measured = step(state, {}, {}, StepInput(jnp.asarray(batch), RATE._replace(clip_norm=1e9)))
            found.append(float(measured.loss))
        return found

    plain, scaled = losses(dict.fromkeys(specs, 1.0)), losses(s)
    assert max(plain) - min(plain) > 0.1  # it trains
    np.testing.assert_allclose(scaled, plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["mup", "completep"])
def test_a_step_of_pretraining_moves_each_weight_by_its_own_rate(name: Any) -> None:
    """Adam's first update has entries of size 1, so that the change of a weight is its rate."""
    model = grown(BASE, name)
    step = compile_step(make_pretraining_step(model, replace(OPTIM, eps=1e-30)), side_by_side=False)
    before = init(declare(model), 0)
    given = StepInput(windows(1)[0], RATE._replace(weight_decay=np.float32(0)))
    state, _ = step(init_pretraining(model, OPTIM, 0), {}, {}, given)
    for path, spec in declare(model).items():
        moved = float(jnp.median(jnp.abs(state.trainable[path] - before[path]))) / float(RATE.learning_rate)
        assert moved == pytest.approx(0.25 if classify(spec) is WeightClass.MATRIX else 1.0, rel=1e-3), path


@pytest.mark.parametrize(
    ("optimizer", "up", "down"),
    [
        (Muon(shape_rule="spectral"), 1, 1),
        (Muon(shape_rule="jordan"), 1, 1),
        (Muon(shape_rule="moonlight"), 0.5, 0.5),  # 1 / sqrt(4)
        (Lion(), 0.25, 0.25),
        (ScheduleFree(), 0.25, 0.25),
    ],
)
def test_rates_of_other_optimizers_keep_the_spectral_norm_of_an_update(
    optimizer: Optimizer, up: float, down: float
) -> None:
    model = grown(BASE, "mup")
    scales = parametrisation_scales(model, optimizer, declare(model))
    assert scales["blocks/mlp/up"].rate == pytest.approx(up)
    assert scales["blocks/mlp/down"].rate == pytest.approx(down)
    assert scales["blocks/mlp/up"].decay == pytest.approx(1 / up)
    assert scales["embed/tokens"].rate == scales["final_norm/scale"].rate == 1


def test_an_optimizer_whose_updates_have_no_known_size_is_refused() -> None:
    with pytest.raises(LoraJaxError, match="'sgd'"):
        make_pretraining_step(grown(BASE, "mup"), replace(OPTIM, optimizer=SGD()))
