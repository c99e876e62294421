"""The instructions of a program that run by themselves, and how often each of them runs in a step."""

from collections.abc import Iterator

from lora_jax.compiling.hlo import Computation, Instruction, Program

_TRIPS = r'"known_trip_count":\{"n":"(\d+)"\}'
_SAME = ("copy", "bitcast", "copy-done", "copy-start", "convert")  # these pass a number on unchanged


class UnknownLoop(Exception):
    """A loop for which neither the compiler nor the text says how often it runs."""


def walk(program: Program) -> Iterator[tuple[Computation, Instruction, int]]:
    """Yield every instruction that runs by itself, with its computation and how often it runs.

    A fusion is one instruction.

    Raises:
        UnknownLoop: We cannot find out how often a loop runs.
    """
    yield from _walk(program, program.entry, 1)


def _walk(program: Program, name: str, times: int) -> Iterator[tuple[Computation, Instruction, int]]:
    computation = program.computations[name]
    for instruction in computation.values():
        if instruction.opcode == "while":
            trips = count_trips(program, computation, instruction)
            yield from _walk(program, instruction.called or "", times * trips)
        elif instruction.opcode in ("call", "async-start"):
            yield from _walk(program, instruction.called or "", times)
        else:
            yield computation, instruction, times


def count_trips(program: Program, computation: Computation, loop: Instruction) -> int:
    """Return how often the body of a loop runs.

    For a GPU the compiler says it. For a TPU we read the loop's counter: where it starts, what the body adds
    to it, and the number that the condition compares it with.

    Raises:
        UnknownLoop: The loop is not of this form.
    """
    told = loop.attribute(_TRIPS)
    if told is not None:
        return int(told)
    condition = program.computations[loop.attribute(r"condition=%?([\w.\-]+)") or ""]
    compare = _root(condition)
    if compare.opcode != "compare" or compare.attribute(r"direction=(\w+)") != "LT":
        raise UnknownLoop(loop.name)
    counter, end = _follow(condition, compare.operands[0]), _follow(condition, compare.operands[1])
    index = counter.attribute(r"index=(\d+)") if counter.opcode == "get-tuple-element" else None
    if index is None:
        raise UnknownLoop(loop.name)
    start = _part(computation, computation[loop.operands[0]], int(index))
    body = program.computations[loop.called or ""]
    step = _part(body, _root(body), int(index))
    limit, first, by = _value(end, loop), _value(start, loop), _step(body, step, loop)
    return max(0, -(-(limit - first) // by))


def _root(computation: Computation) -> Instruction:
    return next(one for one in computation.values() if one.is_root)


def _part(computation: Computation, made: Instruction, index: int) -> Instruction:
    """Return the element of a tuple at an index."""
    if made.opcode != "tuple":
        raise UnknownLoop(made.name)
    return _follow(computation, made.operands[index])


def _follow(computation: Computation, name: str) -> Instruction:
    """Return the instruction that made a number. Instructions that only pass it on are skipped."""
    made = computation[name]
    while made.opcode in _SAME:
        made = computation[made.operands[0]]
    return made


def _value(made: Instruction, loop: Instruction) -> int:
    if made.opcode != "constant" or made.number is None:
        raise UnknownLoop(loop.name)
    return made.number


def _step(body: Computation, made: Instruction, loop: Instruction) -> int:
    if made.opcode != "add":
        raise UnknownLoop(loop.name)
    parts = [_follow(body, name) for name in made.operands]
    numbers = [part.number for part in parts if part.opcode == "constant"]
    if len(numbers) != 1 or not numbers[0]:
        raise UnknownLoop(loop.name)
    return numbers[0]
