"""Tracing for a target that is not there: the named target decides, and no cache gives another's program."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import lora_jax
from lora_jax.config import ModelConfig, OptimConfig
from lora_jax.model.compiled_for import compiling_for, current_target, on_cpu, present_target
from lora_jax.model.cpu_gradients import matmul
from lora_jax.model.transformer import compute_dtype
from lora_jax.target import parse_target
from lora_jax.training.lanes import compile_step
from lora_jax.training.optimizers.optimizer import make_hyperparams
from lora_jax.training.pretraining import init_pretraining, make_pretraining_step
from lora_jax.training.step import StepInput

H100, V5E = parse_target("h100"), parse_target("v5e:2x2")
TINY = ModelConfig(d_model=16, n_layers=1, n_heads=2, vocab_size=32, context=8)


def test_the_target_is_the_process_unless_one_is_named() -> None:
    assert current_target() == present_target()
    assert on_cpu()
    with compiling_for(H100):
        assert current_target() == H100
        with compiling_for(V5E):
            assert current_target() == V5E
        assert current_target() == H100
        assert compute_dtype(TINY) == jnp.bfloat16
    assert compute_dtype(TINY) == jnp.float32
    with pytest.raises(RuntimeError), compiling_for(H100):
        raise RuntimeError
    assert on_cpu()


def test_one_jitted_function_is_traced_anew_for_another_target() -> None:
    gradient = jax.jit(jax.grad(lambda x, w: matmul(x, w).sum()))
    x, w = jnp.ones((4, 8)), jnp.ones((8, 2))
    here = gradient.lower(x, w).as_text()
    assert "optimization_barrier" in here
    with compiling_for(H100):
        assert "optimization_barrier" not in gradient.lower(x, w).as_text()
    assert gradient.lower(x, w).as_text() == here


def test_the_step_of_a_target_is_not_the_step_of_another() -> None:
    """Every cache on the way is asked with equal arguments."""
    optim = OptimConfig(batch_size=2)

    def lower() -> str:
        step = compile_step(make_pretraining_step(TINY, optim), False)
        given = StepInput(jnp.ones((2, 9), jnp.int32), make_hyperparams(optim, 1e-3))
        return step.lower(init_pretraining(TINY, optim, 0), {}, {}, given).as_text()

    here = lower()
    assert "bf16" not in here
    with compiling_for(V5E):
        there = lower()
    assert "bf16" in there
    assert lower() == here


def test_only_the_target_asks_what_this_process_computes_on() -> None:
    """The others that ask are not traced: they measure this machine, or say what it is."""
    not_traced = {"runs/machine.py", "runs/lane_count.py", "finetuning/lane_count.py"}
    package = Path(lora_jax.__file__).parent
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "default_backend(" in path.read_text()
    }
    assert found - not_traced == {"model/compiled_for.py"}
