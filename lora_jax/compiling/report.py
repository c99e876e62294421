"""Compile every different step of a config for a target. This runs in a process of its own (`worker`)."""

import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from jax.errors import JaxRuntimeError
from jax.sharding import Mesh

from lora_jax.compiling.collectives import count_collectives
from lora_jax.compiling.estimate import estimate_step
from lora_jax.compiling.hlo import Program, parse
from lora_jax.compiling.kernels import is_attention
from lora_jax.compiling.results import Collective, CompiledStep, Memory
from lora_jax.compiling.step import Lowered, lower_step
from lora_jax.compiling.walk import UnknownLoop
from lora_jax.compiling.warnings import find_warnings
from lora_jax.config import RunConfig, run_id
from lora_jax.model.attention_kernel import choose_kernel, heads_of
from lora_jax.model.compiled_for import compiling_for
from lora_jax.model.declare import count_parameters
from lora_jax.model.transformer import compute_dtype
from lora_jax.runs.machine import step_flops
from lora_jax.target import Target
from lora_jax.training.trunk import shape_of

OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"


def compile_runs(
    runs: Sequence[RunConfig], target: Target, mesh: Mesh, take: Callable[[CompiledStep], None]
) -> None:
    """Compile one step for each different shape of the runs, in their order.

    Args:
        runs: The runs.
        target: What to compile for.
        mesh: How the devices share the work.
        take: Called with each step when it is done.
    """
    shapes: dict[Any, list[RunConfig]] = {}
    for run in runs:
        shapes.setdefault(shape_of(run), []).append(run)
    for alike in shapes.values():
        take(compile_run(alike, target, mesh))


def compile_run(alike: Sequence[RunConfig], target: Target, mesh: Mesh) -> CompiledStep:
    """Compile the step that runs of one shape share.

    Raises:
        LoraJaxError: The mesh does not divide it.
    """
    run, began = alike[0], time.monotonic()
    lowered = lower_step(run, target, mesh)
    program, memory = _compile(lowered, target)
    seconds = time.monotonic() - began
    flops = step_flops(run)
    fused = program is not None and is_attention_fused(program)
    fits = memory is not None and memory.peak <= memory.limit
    collectives: tuple[Collective, ...] = ()
    estimate, unread = None, ()
    try:
        if program is not None:
            collectives = count_collectives(program, target)
            estimate = estimate_step(program, target, flops, collectives) if fits else None
    except UnknownLoop as loop:
        unread = (f"There is no estimate: the program does not say how often its loop {loop} runs.",)
    model, optim = run.model, run.optim
    return CompiledStep(
        model=f"d{model.d_model}x{model.n_layers}, batch {optim.batch_size} x {run.data.seq_len}",
        n_params=count_parameters(model).non_embedding,
        run_ids=tuple(map(run_id, alike)),
        flops=flops,
        fused_attention=fused,
        memory=memory,
        collectives=collectives,
        estimate=estimate,
        warnings=unread
        + find_warnings(
            memory,
            None if program is None or fused else why_unfused(run, target),
            lowered.whole_bytes,
            collectives,
            target,
        ),
        compile_seconds=seconds,
    )


def why_unfused(run: RunConfig, target: Target) -> str:
    """Return why no kernel attends in the steps of a run, as the end of a sentence."""
    with compiling_for(target):
        heads = heads_of(run.model, run.data.seq_len, compute_dtype(run.model))
    reason = choose_kernel(target, heads).reason
    return reason or "the program calls no kernel that we know"


def is_attention_fused(program: Program) -> bool:
    """Does a custom kernel attend in this program, so that no array holds all scores?"""
    return any(
        is_attention(one) for computation in program.computations.values() for one in computation.values()
    )


def _compile(lowered: Lowered, target: Target) -> tuple[Program | None, Memory | None]:
    """Compile.

    Both results are None if the compiler says that the program does not fit the device's memory.
    """
    try:
        compiled = lowered.lowered.compile()
    except JaxRuntimeError as error:
        if OUT_OF_MEMORY in str(error) and re.search(r"\bhbm\b|memory", str(error), re.IGNORECASE):
            return None, None
        raise
    stats = compiled.memory_analysis()
    memory = Memory(
        float(stats.argument_size_in_bytes),
        float(stats.temp_size_in_bytes),
        float(stats.peak_memory_in_bytes),
        target.device.memory_bytes,
    )
    return parse(compiled.as_text()), memory
