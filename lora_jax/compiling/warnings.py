"""The warnings about a compiled step, one sentence each with what to do."""

from collections.abc import Mapping, Sequence

from lora_jax.compiling.results import Collective, Memory
from lora_jax.target import Target

LARGE_BYTES = 64e6  # an array that each device holds whole is worth a warning from this size on


def find_warnings(
    memory: Memory | None,
    why_unfused: str | None,
    whole_bytes: Mapping[str, float],
    collectives: Sequence[Collective],
    target: Target,
) -> tuple[str, ...]:
    """Return the warnings about a step.

    Args:
        memory: Memory of one device. None if the compiler refused the program for its memory.
        why_unfused: Why no kernel attends. None if one does, or if there is no program to look at.
        whole_bytes: By path, the bytes of every array of the state that each of several devices holds whole.
        collectives: What the devices send to each other.
        target: What was compiled for.
    """
    found = [
        _about_memory(memory, target),
        _about_whole(whole_bytes),
        _about_sums(collectives),
        _about_attention(why_unfused),
    ]
    return tuple(sentence for sentence in found if sentence is not None)


def _about_memory(memory: Memory | None, target: Target) -> str | None:
    limit = f"{target.device.memory_bytes / 1e9:.0f} GB"
    remedy = "choose a smaller batch, optim.accumulate, remat=full, or more devices on fsdp"
    if memory is None:
        return f"It does not fit: the compiler refuses it for the {limit} of a device; {remedy}."
    if memory.peak > memory.limit:
        return f"It does not fit: a device needs {memory.peak / 1e9:.1f} GB and has {limit}; {remedy}."
    return None


def _about_whole(whole_bytes: Mapping[str, float]) -> str | None:
    large = {path: size for path, size in whole_bytes.items() if size >= LARGE_BYTES}
    if not large:
        return None
    largest = max(large, key=lambda path: large[path])
    number = "1 large array" if len(large) == 1 else f"{len(large)} large arrays"
    return (
        f"Each device holds {number} of the state whole, {sum(large.values()) / 1e9:.2f} GB in all, the"
        f" largest {largest} of {large[largest] / 1e9:.2f} GB: give fsdp or tensor more of the mesh."
    )


def _about_sums(collectives: Sequence[Collective]) -> str | None:
    largest = max((one.largest_bytes for one in collectives if one.kind == "all-reduce"), default=0.0)
    if largest < LARGE_BYTES:
        return None
    return (
        f"The largest all-reduce brings {largest / 1e9:.2f} GB to every device, the whole of an array: where"
        " a device keeps a part of it, a reduce-scatter would bring half."
    )


def _about_attention(reason: str | None) -> str | None:
    if reason is None:
        return None
    return (
        f"Attention is not fused: {reason}. The scores of all positions are in memory, which grows with the"
        " square of the sequence."
    )
