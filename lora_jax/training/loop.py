"""The plain loop of one run, from top to bottom: batch -> step -> losses -> evaluation -> result.

Read this first. `training/trunk.py` does the same for several runs side by side. They share their common
steps and can be stopped. `tests/training/test_loop.py` checks that both give the same bits.
"""

from lora_jax.config import RunConfig
from lora_jax.data import Dataset
from lora_jax.training.history import LossHistory
from lora_jax.training.lanes import compile_step
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.pretraining import init_pretraining, make_input, make_pretraining_step
from lora_jax.training.result import PretrainResult, make_result
from lora_jax.training.step import evaluation_weights
from lora_jax.training.trial import StepTimer


def pretrain(run: RunConfig, dataset: Dataset) -> PretrainResult:
    """Train one run from start to end and evaluate it. Nothing is saved."""
    history, timer = LossHistory(), StepTimer()
    state = init_pretraining(run.model, run.optim, run.seed)
    step = compile_step(make_pretraining_step(run.model, run.optim), side_by_side=False)
    while len(history.losses) < run.n_steps and not history.ended:
        state, measured = step(state, {}, {}, make_input(run, dataset, len(history.losses)))
        history.take([float(measured.loss)], [run.tokens_per_step])
        timer.tokens += run.tokens_per_step
    weights = None if history.ended else evaluation_weights(state, make_optimizer(run.optim))
    return make_result(run, history, weights, dataset, timer)
