"""One optimizer of each kind, and steps of a run with it: for the tests of what holds for all of them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import optax

from lora_jax.config import OptimConfig, RunConfig
from lora_jax.training.optimizers.adamw import AdamW
from lora_jax.training.optimizers.custom import Custom
from lora_jax.training.optimizers.lion import Lion
from lora_jax.training.optimizers.muon import Muon
from lora_jax.training.optimizers.optimizer import Hyperparams, Optimizer
from lora_jax.training.optimizers.schedule_free import ScheduleFree
from lora_jax.training.optimizers.sgd import SGD
from lora_jax.training.step import StepInput


def rms(decay: float) -> optax.GradientTransformation:
    """A function that `custom` names: RMSProp of optax."""
    return optax.scale_by_rms(decay)


def sums(decay: float) -> optax.GradientTransformation:
    """One that changes shapes."""
    del decay

    def shrink(updates: Any, params: Any) -> Any:
        return {path: gradient.sum(0) for path, gradient in updates.items()}

    return optax.stateless(shrink)


HERE = "tests.training.optimizers.kinds"
KINDS: dict[str, Optimizer] = {
    "adamw": AdamW(beta1=0.8),
    "muon": Muon(adam_rate=0.5),
    "lion": Lion(),
    "sgd": SGD(nesterov=True),
    "plain sgd": SGD(momentum=0.0),
    "schedule_free": ScheduleFree(),
    "custom": Custom(function=f"{HERE}:rms", numbers=(("decay", 0.9),)),
}
RATES = {
    "adamw": 0.02,
    "muon": 0.02,
    "lion": 0.003,
    "sgd": 0.3,
    "plain sgd": 1.0,
    "schedule_free": 0.02,
    "custom": 0.02,
}


def with_optimizer(run: RunConfig, optimizer: Any, **fields: Any) -> RunConfig:
    """Return the run with another optimizer; one that takes the rate has a constant schedule."""
    if optimizer.takes_rate:
        fields = {"schedule": "constant", **fields}
    return dataclasses.replace(run, optim=dataclasses.replace(run.optim, optimizer=optimizer, **fields))


def make_given(
    optim: OptimConfig, step: int, rate: float, decay: float = 0.1, clip: float = 1.0
) -> StepInput:
    """Return random tokens and the numbers of a step."""
    windows_BU = np.random.default_rng(step).integers(0, 256, (optim.batch_size, 33)).astype(np.int32)
    return StepInput(windows_BU, Hyperparams(np.float32(rate), np.float32(decay), np.float32(clip)))


def random_gradients(specs: Any, n: int, seed: int = 0) -> Sequence[dict[str, np.ndarray]]:
    """Return n gradients of each weight, of standard deviation 1."""
    rng = np.random.default_rng(seed)
    return [
        {path: rng.standard_normal(spec.shape).astype(np.float32) for path, spec in specs.items()}
        for _ in range(n)
    ]
