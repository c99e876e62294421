"""A program of the tests: train a few steps on a mesh of virtual CPU devices, and print the losses as JSON.

Arguments: a mesh ("" for a single device without one), the first step and the last, a folder to restore from
and one to save to ("" for none), and, of several processes, the coordinator's port, how many
and which; an optimizer's kind; a target to trace for ("" for these CPUs).
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lora_jax.config import LLAMA, ModelConfig, OptimConfig
from lora_jax.model.compiled_for import compiling_for
from lora_jax.model.declare import declare
from lora_jax.target import parse_target
from lora_jax.training import checkpoint, loss
from lora_jax.training.checkpoint import Checkpoints
from lora_jax.training.lanes import Lanes, stack_inputs
from lora_jax.training.mesh import init_on, join_on, make_mesh, spread_step, state_shardings
from lora_jax.training.optimizers import find_optimizers
from lora_jax.training.optimizers.optimizer import make_hyperparams
from lora_jax.training.pretraining import init_pretraining, make_pretraining_step
from lora_jax.training.processes import is_leader
from lora_jax.training.step import StepInput

MODEL = ModelConfig(
    d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=64, context=16, tied_head=False, **LLAMA
)
OPTIM = OptimConfig(batch_size=8)


def main(*arguments: str) -> None:
    traced_for = arguments[9] if len(arguments) > 9 else ""
    if not traced_for:
        train(MODEL, *arguments)
        return
    with compiling_for(parse_target(traced_for)):
        for is_tied in (False, True):
            train(replace(MODEL, compute_dtype="float32", tied_head=is_tied), *arguments[:9])


def train(
    model: ModelConfig,
    mesh_text: str,
    first: str,
    last: str,
    source: str,
    target: str,
    port: str = "",
    n: str = "1",
    number: str = "0",
    optimizer: str = "",
) -> None:
    optim = OptimConfig(batch_size=8, optimizer=find_optimizers()[optimizer]()) if optimizer else OPTIM
    if port:  # gloo, the collectives of CPUs, says something of its connections in between
        jax.distributed.initialize(f"localhost:{port}", int(n), int(number))
    if mesh_text:
        loss.ROOM["cpu"] = loss.Room(1024, 1)  # of a device: 4 chunks of 4 positions on 8 devices
        loss.ROOM["accelerator"] = loss.ROOM["cpu"]
        mesh = make_mesh(mesh_text)
        step = spread_step(mesh, model, make_pretraining_step(model, optim))
        state, join = init_on(mesh, model, optim, 0), join_on(mesh)
        places = state_shardings(mesh, declare(model), state)
    else:
        step, join, places = make_pretraining_step(model, optim), stack_inputs, None
        state = init_pretraining(model, optim, 0)
    if source:
        state, _ = Checkpoints(Path(source)).restore(state)
    lanes = Lanes(step, [state], join=join)
    losses: list[Any] = []
    for i in range(int(first), int(last)):
        windows_BU = np.random.default_rng(i).integers(0, 64, (8, 17)).astype(np.int32)
        losses.append(lanes.step([StepInput(windows_BU, make_hyperparams(OPTIM, 1e-2))]))
    after = lanes.read(0)
    if places is not None:
        for array, place in zip(jax.tree.leaves(after), jax.tree.leaves(places), strict=True):
            assert array.sharding == place, "an array has moved"
    if target:
        checkpoint.BACKGROUND_BYTES = 0  # where one process has all devices
        checkpoints = Checkpoints(Path(target))
        checkpoints.save(after, np.zeros(int(last), np.float32))
        checkpoints.close()
    if is_leader():
        print("losses", json.dumps([float(one[0]) for one in jax.device_get(losses)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
