"""An estimate of a step's time from its compiled program, by the rule of docs/accelerators.md.

For a TPU the compiler says how many cycles each fusion takes. We unroll the loops and add these up. It says
nothing about a custom kernel. There we add the larger of its FLOPs over half the peak and its bytes over the
bandwidth. For a GPU the compiler says no times at all. Every fusion then takes the larger of its FLOPs over
the peak and its bytes over the bandwidth. A custom kernel counts as on a TPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lora_jax.compiling.collectives import kind_of
from lora_jax.compiling.cost import count_bytes, count_flops, is_free
from lora_jax.compiling.hlo import Computation, Instruction, Program
from lora_jax.compiling.kernels import count_kernel_flops, kernel_target
from lora_jax.compiling.links import communication_seconds
from lora_jax.compiling.results import Collective, StepEstimate
from lora_jax.compiling.walk import walk
from lora_jax.target import Target

KERNEL_SHARE = 0.5  # the share of the peak that we assume a custom kernel to reach
CYCLES = r'"estimated_cycles":"?(\d+)'
NO_WORK = ("AllocateBuffer", "ConcatBitcast", "AssumeGatherIndicesInBound", "Sharding", "LayoutConstraint")


@dataclass
class _Sum:
    seconds: float = 0.0
    kernel_seconds: float = 0.0


def estimate_step(
    program: Program, target: Target, flops: float, collectives: Sequence[Collective]
) -> StepEstimate:
    """Estimate the time of a step.

    Args:
        program: The compiled program.
        target: What it was compiled for.
        flops: FLOPs of the model in one step, on all devices.
        collectives: The step's collectives.
    """
    total, unpriced = _Sum(), dict[str, None]()
    for computation, instruction, times in walk(program):
        kernel = kernel_target(instruction)
        if kind_of(instruction) is not None or is_free(instruction) or kernel in NO_WORK:
            continue
        cycles = _cycles(instruction) if target.platform == "tpu" else None
        if cycles is not None:
            total.seconds += times * cycles / target.device.clock_hz
        elif kernel is not None:
            seconds = times * _roofline(program, computation, instruction, target, KERNEL_SHARE)
            total.seconds += seconds
            total.kernel_seconds += seconds
            if count_kernel_flops(computation, instruction) is None:
                unpriced[kernel] = None
        elif target.platform != "tpu":
            total.seconds += times * _roofline(program, computation, instruction, target, 1.0)
    peak = target.device.peak_flops * target.n_devices
    return StepEstimate(
        seconds=total.seconds,
        kernel_seconds=total.kernel_seconds,
        communication_seconds=communication_seconds(collectives, target),
        utilisation=flops / (peak * total.seconds) if total.seconds else 0.0,
        unpriced_kernels=tuple(unpriced),
    )


def _cycles(instruction: Instruction) -> int | None:
    found = instruction.attribute(CYCLES)
    return None if found is None else int(found)


def _roofline(
    program: Program, computation: Computation, instruction: Instruction, target: Target, share: float
) -> float:
    """Return the larger of FLOPs over a share of the peak and bytes over the bandwidth, in seconds."""
    device = target.device
    compute = count_flops(program, computation, instruction) / (share * device.peak_flops)
    return max(compute, count_bytes(program, computation, instruction) / device.bandwidth)
