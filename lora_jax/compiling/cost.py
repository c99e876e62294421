"""What one instruction of a program computes and moves, read from its text."""

from lora_jax.compiling.hlo import Computation, Instruction, Program
from lora_jax.compiling.kernels import count_kernel_flops, product_flops

# These cost nothing, because they only name arrays that exist.
FREE = frozenset(
    {
        "parameter",
        "constant",
        "tuple",
        "get-tuple-element",
        "bitcast",
        "after-all",
        "partition-id",
        "replica-id",
        "opt-barrier",
        "add-dependency",
        "async-update",
    }
)
SLICES = ("slice", "dynamic-slice", "gather")


def is_free(instruction: Instruction) -> bool:
    """Does an instruction only name what exists, or end what another began?"""
    return instruction.opcode in FREE or instruction.opcode.endswith("-done")


def count_flops(program: Program, computation: Computation, instruction: Instruction) -> float:
    """Return the FLOPs of the products in an instruction: two for each multiplication with its addition.

    Sums and elementwise functions do not count, because their bytes bound their time.
    """
    if instruction.opcode == "dot":
        return product_flops(
            computation, instruction, _dims(instruction, r"lhs_contracting_dims=\{([\d,]*)\}")
        )
    if instruction.opcode == "custom-call":
        return count_kernel_flops(computation, instruction) or 0.0
    inner = program.computations.get(instruction.called or "")
    if instruction.opcode == "fusion" and inner is not None:
        return sum(count_flops(program, inner, one) for one in inner.values())
    return 0.0


def count_bytes(program: Program, computation: Computation, instruction: Instruction) -> float:
    """Return the bytes that an instruction reads and writes.

    If only slices of an operand are used, only these are read. If a part of an array is replaced in place,
    only that part is read and written.
    """
    inner = program.computations.get(instruction.called or "") if instruction.opcode == "fusion" else None
    if inner is None:
        if instruction.opcode in SLICES:
            return 2 * instruction.n_bytes
        return instruction.n_bytes + sum(_bytes_of(computation, name) for name in instruction.operands)
    parameters = {one.number: one for one in inner.values() if one.opcode == "parameter"}
    read = sum(
        _bytes_read(inner, parameters[at]) for at in range(len(instruction.operands)) if at in parameters
    )
    return read + _bytes_written(inner, instruction)


def _bytes_of(computation: Computation, name: str) -> float:
    return computation[name].n_bytes if name in computation else 0.0


def _bytes_read(inner: Computation, parameter: Instruction) -> float:
    users = [one for one in inner.values() if parameter.name in one.operands]
    if users and all(_touches_a_part(one, parameter.name) for one in users):
        return sum(one.n_bytes for one in users if one.opcode in SLICES)
    return parameter.n_bytes


def _touches_a_part(user: Instruction, name: str) -> bool:
    return user.opcode in (*SLICES, "dynamic-update-slice") and user.operands[0] == name


def _bytes_written(inner: Computation, instruction: Instruction) -> float:
    """Return the bytes of a fusion's results. If one is updated in place, only the part counts."""
    root = next(one for one in inner.values() if one.is_root)
    parts = [inner[name] for name in root.operands] if root.opcode == "tuple" else [root]
    return sum(_bytes_of(inner, one.operands[1]) if _is_update(one) else one.n_bytes for one in parts)


def _is_update(instruction: Instruction) -> bool:
    return instruction.opcode == "dynamic-update-slice"


def _dims(instruction: Instruction, pattern: str) -> list[int]:
    found = instruction.attribute(pattern)
    return [int(at) for at in (found or "").split(",") if at]
