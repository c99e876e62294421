"""What devices send to each other in a step: collectives by kind, with their number and bytes."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from lora_jax.compiling.groups import count_hosts, read_groups, read_pairs
from lora_jax.compiling.hlo import Instruction, Program
from lora_jax.compiling.results import Collective
from lora_jax.compiling.walk import walk
from lora_jax.target import Target

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
# They return their operands in front of what they make. An all-reduce-start does not.
RETURN_OPERANDS = ("all-gather-start", "all-to-all-start", "collective-permute-start", "reduce-scatter-start")


def kind_of(instruction: Instruction) -> str | None:
    """Return the kind of collective that an instruction is or begins. None for any other instruction."""
    kind = instruction.opcode.removesuffix("-start")
    return kind if kind in KINDS else None


def count_collectives(program: Program, target: Target) -> tuple[Collective, ...]:
    """Return every kind of collective in the program, in the order of KINDS. Loops are unrolled."""
    found: dict[str, list[tuple[int, float, float]]] = defaultdict(list)
    for kind, instruction, times in _find(program):
        received = bytes_received(instruction, kind, target.n_devices)
        found[kind].append((times, received, bytes_between_hosts(instruction, kind, target)))
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
    if kind == "collective-permute":
        return sum(_sizes(instruction))
    n = len(read_groups(instruction, n_devices)[0])
    return _whole(instruction, kind, n) * (n - 1) / n


def bytes_between_hosts(instruction: Instruction, kind: str, target: Target) -> float:
    """Return what of that a device receives by its network card, if the devices of h machines take part.

    Each machine needs (h - 1) / h of what is gathered or reduced once, and its devices share that. In an
    all-to-all each device needs so much of its own.
    """
    if target.n_hosts == 1:
        return 0.0
    n_per_host = target.device.n_joined
    if kind == "collective-permute":
        crosses = count_hosts(read_pairs(instruction), n_per_host) > 1
        return sum(_sizes(instruction)) if crosses else 0.0
    groups = read_groups(instruction, target.n_devices)
    n, n_hosts = len(groups[0]), count_hosts(groups, n_per_host)
    shared_by = 1 if kind == "all-to-all" else n / n_hosts
    return _whole(instruction, kind, n) * (n_hosts - 1) / n_hosts / shared_by


def _whole(instruction: Instruction, kind: str, n: int) -> float:
    """Return the bytes of the whole array among n devices; twice them where it is reduced everywhere."""
    scattered = instruction.opcode.startswith("reduce-scatter")
    return sum(_sizes(instruction)) * (n if scattered else 1) * (2 if kind == "all-reduce" else 1)


def _sizes(instruction: Instruction) -> list[float]:
    sizes = [array.n_bytes for array in instruction.arrays]
    if instruction.opcode in RETURN_OPERANDS:
        n_operands = len(instruction.operands)
        sizes = sizes[n_operands : 2 * n_operands]
    return sizes


def _sum_up(kind: str, found: Sequence[tuple[int, float, float]]) -> Collective:
    return Collective(
        kind=kind,
        count=sum(times for times, _, _ in found),
        received_bytes=sum(times * size for times, size, _ in found),
        largest_bytes=max(size for _, size, _ in found),
        network_bytes=sum(times * between for times, _, between in found),
    )
