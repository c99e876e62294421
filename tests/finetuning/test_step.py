"""Losses of a batch: packed rows have those of rows alone, padding counts for nothing."""

from typing import cast

import jax
import numpy as np
import optax
import pytest

from lora_jax.data.tasks import make_batches
from lora_jax.finetuning.config import TuneConfig
from lora_jax.finetuning.prepare import Prepared
from lora_jax.finetuning.step import dropout_key, init_tuning, make_tune_step, measure_losses
from lora_jax.model.hooks import NO_HOOKS
from lora_jax.params import Params
from lora_jax.peft.method import adapt
from lora_jax.peft.methods.lora import LoRA
from lora_jax.training.lanes import compile_step
from lora_jax.training.optimizers.optimizer import make_hyperparams
from lora_jax.training.step import StepInput


def test_packed_rows_have_the_losses_of_rows_alone(generate: Prepared) -> None:
    train = generate.train
    packed = make_batches(train, 4, seed=0, epoch=0, packed=True)
    alone = make_batches(train, 8, seed=0, epoch=None, bucket_lengths=(16,))
    losses = np.zeros(len(train))
    for index in range(2):
        found = measure_losses(generate.model, generate.base, alone[index], NO_HOOKS)
        row_N, line_N, _ = alone.members(index)
        losses[row_N] = np.asarray(found.loss_B)[line_N]
    wanted = np.flatnonzero(losses)
    seen = 0
    for index in range(len(packed)):
        row_N, line_N, _ = packed.members(index)
        lines = [line for line in set(line_N.tolist()) if set(row_N[line_N == line]) <= set(wanted)]
        if not lines:
            continue
        found = np.asarray(measure_losses(generate.model, generate.base, packed[index], NO_HOOKS).loss_B)
        for line in lines:
            rows = row_N[line_N == line]
            assert found[line] == pytest.approx(losses[rows].sum(), rel=1e-5)
            seen += len(rows) > 1
    assert seen, "no line of several rows was compared"


def test_rows_that_fill_a_batch_weigh_nothing(classify: Prepared) -> None:
    batches = make_batches(classify.test, 32, seed=0, epoch=None)
    last = batches[len(batches) - 1]
    assert (last.example_weights_B == 0).any()
    found = measure_losses(classify.model, {**classify.base}, last, NO_HOOKS)
    assert (np.asarray(found.loss_B)[last.example_weights_B == 0] == 0).all()
    assert float(found.weight_B.sum()) == last.example_weights_B.sum()


def test_a_step_is_optaxs_adamw_and_b_has_its_own_rate(classify: Prepared) -> None:
    """Clipping, decay on matrices alone and the rate, beside optax.adamw on the same gradient."""
    config, optim = LoRA(rank=2, rate_ratio=4.0), TuneConfig(weight_decay=0.1, clip_norm=0.05)
    method = config.build(classify.model)
    adapted = adapt(classify.base, method, 0)
    batch = make_batches(classify.train, 8, seed=0, epoch=0)[0]
    start = {path: np.asarray(weight) for path, weight in adapted.trainable.items()}

    def loss(trainable):
        found = measure_losses(classify.model, {**trainable, **adapted.frozen}, batch, method.hooks)
        return found.loss_B.sum() / found.weight_B.sum()

    gradient = jax.grad(loss)(adapted.trainable)
    decays = {path: method.specs[path].decays for path in gradient}
    optimizer = optax.chain(
        optax.clip_by_global_norm(0.05), optax.adamw(1e-2, b2=0.999, weight_decay=0.1, mask=decays)
    )
    found, _ = optimizer.update(gradient, optimizer.init(adapted.trainable), adapted.trainable)
    updates = cast(Params, found)
    state = init_tuning(adapted, method, optim.numbers)
    step = compile_step(make_tune_step(classify.model, config, optim.numbers), side_by_side=False)
    given = StepInput(batch, make_hyperparams(optim.numbers, 1e-2), dropout_key(0))
    state, _ = step(state, adapted.frozen, {}, given)
    for path, weight in state.trainable.items():
        ratio = 4.0 if path.endswith("_lora_b") else 1.0
        np.testing.assert_allclose(weight, start[path] + ratio * np.asarray(updates[path]), rtol=0, atol=1e-6)
