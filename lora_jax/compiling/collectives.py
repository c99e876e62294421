"""What devices send to each other in a step: collectives by kind, with their number and bytes."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from lora_jax.compiling.hlo import Instruction, Program
from lora_jax.compiling.results import Collective
from lora_jax.compiling.walk import walk

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
RETURN_OPERANDS = ("all-gather-start", "collective-permute-start")  # they return operands before results


def kind_of(instruction: Instruction) -> str | None:
    """Return the kind of collective that an instruction is or begins. None for any other instruction."""
    kind = instruction.opcode.removesuffix("-start")
    return kind if kind in KINDS else None


def count_collectives(program: Program, n_devices: int) -> tuple[Collective, ...]:
    """Return every kind of collective in the program, in the order of KINDS. Loops are unrolled."""
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for kind, instruction, times in _find(program):
        found[kind].append((times, bytes_received(instruction, kind, n_devices)))
    return tuple(_sum_up(kind, found[kind]) for kind in KINDS if kind in found)


def _find(program: Program) -> Iterator[tuple[str, Instruction, int]]:
    """Yield every collective with its kind and how often it runs.

    A TPU's compiler puts collectives into fusions. If one runs behind other work, it is in several fusions,
    which form a chain with a number. It counts once. A sum of which each device keeps a part is a
    reduce-scatter, although the text calls it an all-reduce.
    """
    chains: set[tuple[int, str]] = set()
    for computation, instruction, times in walk(program):
        kind = kind_of(instruction)
        if kind is not None:
            yield kind, instruction, times
        called = instruction.called or ""
        if instruction.opcode != "fusion" or called not in program.computations:
            continue
        for inner in program.computations[called].values():
            kind, chain = kind_of(inner), inner.attribute(r'chain_id="(\d+)"')
            if kind is None or (chain is not None and (id(computation), chain) in chains):
                continue
            if chain is not None:
                chains.add((id(computation), chain))
            yield "reduce-scatter" if called.startswith("all-reduce-scatter") else kind, inner, times


def bytes_received(instruction: Instruction, kind: str, n_devices: int) -> float:
    """Return the bytes that a device receives, and also sends, if each passes its part around a ring.

    For a whole array of S bytes among n devices, gathering or scattering takes (n - 1) / n S. Reducing it
    everywhere takes twice that, and handing it on takes S.
    """
    sizes = [array.n_bytes for array in instruction.arrays]
    if instruction.opcode in RETURN_OPERANDS:
        n_operands = len(instruction.operands)
        sizes = sizes[n_operands : 2 * n_operands]
    if kind == "collective-permute":
        return sum(sizes)
    n = _group_size(instruction, n_devices)
    whole = sum(sizes) * (n if instruction.opcode.startswith("reduce-scatter") else 1)
    return (2 if kind == "all-reduce" else 1) * whole * (n - 1) / n


def _group_size(instruction: Instruction, n_devices: int) -> int:
    """Return how many devices take part. XLA writes groups in three ways.

    {{0,1},{2,3}} and [2,2]<=[4] are groups of two, and mesh['a'=2,'b'=4] {'b'} are groups of four.
    """
    listed = instruction.attribute(r"replica_groups=\{\{([\d,]+)\}")
    if listed:
        return len(listed.split(","))
    counted = instruction.attribute(r"replica_groups=\[\d+,(\d+)\]")
    if counted:
        return int(counted)
    axes = re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", instruction.text)
    if axes is None:
        return n_devices
    sizes = {name: int(size) for name, size in re.findall(r"('[^']*')=(\d+)", axes[1])}
    return math.prod(sizes[name] for name in re.findall(r"'[^']*'", axes[2]))


def _sum_up(kind: str, found: Sequence[tuple[int, float]]) -> Collective:
    count = sum(times for times, _ in found)
    return Collective(kind, count, sum(times * size for times, size in found), max(size for _, size in found))
