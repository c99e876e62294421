"""Gradient accumulation in fine-tuning: parts of unequal tokens, or of none, have the batch's gradient."""

from typing import Any

import jax
import numpy as np
import pytest

from lora_jax.config import OptimConfig
from lora_jax.data.tasks import Batch, make_batches
from lora_jax.finetuning.prepare import Prepared
from lora_jax.finetuning.step import dropout_key, init_tuning, join_inputs, make_tune_step
from lora_jax.peft.method import Adapted, adapt
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.subset import Full
from lora_jax.training.step import StepInput
from tests.training.parts import UNCLIPPED, assert_equal_in_parts


def thin(batch: Batch) -> Batch:
    """Leave one part of four nothing to predict, as rows that fill a batch have, and others less."""
    weights, row_weights = np.array(batch.weights_BT), np.array(batch.example_weights_B)
    weights[3::4] = row_weights[3::4] = 0
    weights[[0, 1, 5]] = row_weights[[0, 1, 5]] = 0
    return batch._replace(weights_BT=weights, example_weights_B=row_weights)


@pytest.mark.parametrize(("kind", "n_lanes"), [("generate", 2), ("classify", 1)])
def test_parts_of_unequal_tokens_have_the_gradient_of_the_batch(
    kind: str, n_lanes: int, request: pytest.FixtureRequest
) -> None:
    prepared: Prepared = request.getfixturevalue(kind)
    config = LoRA(rank=2) if n_lanes > 1 else Full()
    method = config.build(prepared.model)
    batches = make_batches(prepared.train, 16, seed=0, epoch=0)

    def start(optim: OptimConfig) -> Any:
        adapted = [adapt(prepared.base, method, seed) for seed in range(n_lanes)]
        copies = [jax.tree.map(lambda leaf: leaf.copy(), one.trainable) for one in adapted]
        states = [
            init_tuning(Adapted(copy, one.frozen), method, optim)
            for copy, one in zip(copies, adapted, strict=True)
        ]
        return states, [one.frozen for one in adapted]

    given = [StepInput(thin(batches[lane]), UNCLIPPED, dropout_key(lane)) for lane in range(n_lanes)]
    batch = given[0].batch
    weights = batch.weights_BT if kind == "generate" else batch.example_weights_B
    of_parts = [weights[part::4].sum() for part in range(4)]
    assert min(of_parts) == 0
    assert len(set(of_parts)) >= 3
    assert_equal_in_parts(
        lambda optim: make_tune_step(prepared.model, config, optim), start, join_inputs, given
    )
