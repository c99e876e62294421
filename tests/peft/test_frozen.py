"""What is frozen stays so, byte for byte, and costs nothing backward: the state, the program, its FLOPs."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import LLAMA, ModelConfig, OptimConfig
from lora_jax.data.tasks.batching import Batch
from lora_jax.finetuning.step import dropout_key, init_tuning, make_tune_step
from lora_jax.model.convention import counting
from lora_jax.model.declare import declare
from lora_jax.model.transformer import forward
from lora_jax.params import Params, combine, count
from lora_jax.peft.method import MethodConfig, adapt
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.subset import Full, TopLayers
from lora_jax.peft.summary import training_flops_per_token
from lora_jax.training.lanes import compile_step
from lora_jax.training.optimizers.optimizer import make_hyperparams
from lora_jax.training.step import StepInput

OPTIM = OptimConfig(weight_decay=0.1, clip_norm=0.5)


def make_batch(tokens_BT: jax.Array) -> Batch:
    tokens = np.asarray(tokens_BT, np.int32)
    ones, B = np.ones_like(tokens), len(tokens)
    positions = np.broadcast_to(np.arange(tokens.shape[1], dtype=np.int32), tokens.shape)
    targets = np.roll(tokens, -1, axis=1)
    weights = ones.astype(np.float32)
    return Batch(
        tokens, ones, positions, 0 * ones, targets, weights, np.zeros(B, np.int32), np.ones(B, np.float32)
    )


@pytest.mark.parametrize(
    "config", [LoRA(rank=2, targets=("q", "down")), pytest.param(TopLayers(layers=1), marks=pytest.mark.slow)]
)
def test_frozen_bytes_after_a_thousand_steps(
    config: MethodConfig, models: dict[str, ModelConfig], bases: dict[str, Params], tokens_BT: jax.Array
) -> None:
    model, method = models["llama"], config.build(models["llama"])
    adapted = adapt(bases["llama"], method, seed=0)
    frozen = adapted.frozen
    before = {path: np.asarray(weight).tobytes() for path, weight in frozen.items()}
    start = {path: np.array(weight) for path, weight in adapted.trainable.items()}
    state = init_tuning(adapted, method, OPTIM)
    n_trainable = count({path: method.specs[path] for path in method.trainable})
    n_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state.opt_state))
    assert 8 * n_trainable <= n_bytes <= 8 * n_trainable + 64
    step = compile_step(make_tune_step(model, config, OPTIM), side_by_side=False)
    given = StepInput(make_batch(tokens_BT), make_hyperparams(OPTIM, 1e-3), dropout_key(0))
    losses = []
    for _ in range(1000):
        state, measured = step(state, frozen, {}, given)
        losses.append(float(measured.loss))
    assert losses[-1] < 0.9 * losses[0], "it learns"
    assert {path: np.asarray(weight).tobytes() for path, weight in frozen.items()} == before
    assert state.trainable.keys() == method.trainable, "nothing frozen leaves the step"
    assert all(np.abs(np.asarray(w) - start[path]).max() > 0 for path, w in state.trainable.items())


def gradient_program(model: ModelConfig, config: MethodConfig, tokens_BT: jax.Array) -> Any:
    method = config.build(model)
    shapes = {p: jax.ShapeDtypeStruct(s.shape, jnp.float32) for p, s in method.specs.items()}
    trainable = {p: s for p, s in shapes.items() if p in method.trainable}
    frozen = {p: s for p, s in shapes.items() if p not in method.trainable}

    def loss(trainable: Params, frozen: Params) -> jax.Array:
        return forward(model, combine(trainable, frozen), tokens_BT, method.hooks).sum()

    # what the backend does with the products does not change which there are, and takes most of the time
    hasty: dict[str, Any] = {"xla_backend_optimization_level": 0}
    return jax.jit(jax.value_and_grad(loss)).lower(trainable, frozen).compile(compiler_options=hasty)


def dot_shapes(program: Any) -> set[tuple[int, ...]]:
    found = re.findall(r"= \w+\[([\d,]+)\]\S* dot\(", program.as_text())
    return {tuple(int(n) for n in shape.split(",")) for shape in found}


def test_no_product_has_a_frozen_weights_shape(models: dict[str, ModelConfig], tokens_BT: jax.Array) -> None:
    model = models["llama"]
    weights = set()
    for path, spec in declare(model).items():
        if spec.contract and path.startswith("blocks/"):
            k = int(np.prod([dict(spec.axes)[name] for name in spec.contract]))
            weights |= {(k, spec.size // model.n_layers // k), (spec.size // model.n_layers // k, k)}
    n_tokens = tokens_BT.size
    assert all(n_tokens not in shape for shape in weights), "a product of activations would look like one"
    full = dot_shapes(gradient_program(model, Full(), tokens_BT))
    assert full & weights, "the pattern finds the gradients that full fine-tuning computes"
    lora = dot_shapes(gradient_program(model, LoRA(rank=3, targets=("all",)), tokens_BT))
    assert lora
    assert not lora & weights


@pytest.mark.slow
def test_flops_of_the_compiled_program() -> None:
    """XLA's own count, at T = 128: LoRA under .72 of full, the top K near (L + 2K) / 3L; ours beside it."""
    model = ModelConfig(
        d_model=128, n_layers=4, n_heads=2, vocab_size=256, context=128, compute_dtype="float32", **LLAMA
    )
    tokens_BT = jnp.zeros((2, 128), jnp.int32)

    def flops(config: MethodConfig) -> float:
        with counting():  # a CPU leaves out scores that nobody sees
            return gradient_program(model, config, tokens_BT).cost_analysis()["flops"] / tokens_BT.size

    full, lora, top = flops(Full()), flops(LoRA(rank=8)), flops(TopLayers(layers=2))
    print(f"LoRA / full {lora / full:.3f}, top 2 of 4 / full {top / full:.3f}")
    assert lora / full < 0.72
    assert top / full == pytest.approx((4 + 2 * 2) / (3 * 4), rel=0.05)
    for config, measured in ((Full(), full), (LoRA(rank=8), lora), (TopLayers(layers=2), top)):
        ours = training_flops_per_token(model, config.build(model), 128)
        print(f"{config}: ours / XLA's {ours / measured:.3f}")
        assert ours == pytest.approx(measured, rel=0.06)
