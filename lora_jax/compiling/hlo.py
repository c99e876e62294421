"""XLA's optimised program as it prints it: computations and their instructions."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

BITS = {"pred": 8, "token": 0, "opaque": 0}  # bits of the types whose names say no size
_ARRAY = re.compile(r"\b([a-z][a-z0-9]*)\[([0-9,]*)\]")
_CALLED = re.compile(r"\b(?:calls|to_apply|body)=%?([\w.\-]+)")
_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")


@dataclass(frozen=True)
class Array:
    """The type of an array of the program.

    Attributes:
        dtype: Its element type.
        shape: Its shape on one device.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> float:
        """Its bytes, without padding."""
        bits = BITS.get(self.dtype)
        if bits is None:
            digits = re.match(r"[a-z]+(\d+)", self.dtype)
            bits = int(digits[1]) if digits else 0
        return self.size * bits / 8


@dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
        name: Its name.
        opcode: What it does, such as fusion, dot or while.
        arrays: What it returns. The parts of a tuple stand in a row.
        operands: Names of its operands.
        text: The line behind the operands: attributes and the compiler's notes.
        is_root: Whether its computation returns it.
        number: The number of a parameter in its computation, or the value of a constant that is a whole
            number. None for any other instruction.
    """

    name: str
    opcode: str
    arrays: tuple[Array, ...]
    operands: tuple[str, ...]
    text: str
    is_root: bool = False
    number: int | None = None

    @property
    def n_bytes(self) -> float:
        """Bytes of what it returns."""
        return sum(array.n_bytes for array in self.arrays)

    @property
    def called(self) -> str | None:
        """The computation that it calls, such as a fusion's or the body of a loop."""
        found = _CALLED.search(self.text)
        return None if found is None else found[1]

    def attribute(self, pattern: str) -> str | None:
        """Return the first group of a pattern in its attributes. None if the pattern does not match."""
        found = re.search(pattern, self.text)
        return None if found is None else found[1]


Computation = Mapping[str, Instruction]  # by name, in their order


@dataclass(frozen=True)
class Program:
    """A program.

    Attributes:
        computations: The computations by name.
        entry: Name of the computation that runs.
    """

    computations: Mapping[str, Computation]
    entry: str


def parse(text: str) -> Program:
    """Parse the text that `compiled.as_text()` gives.

    Raises:
        ValueError: The text is no program of XLA's.
    """
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", {}
    for line in _join_lines(text):
        header = _HEADER.match(line)
        if header:
            current = computations[header[2]] = {}
            entry = header[2] if header[1] else entry
        elif line.startswith("  ") and " = " in line:
            instruction = _parse_line(line)
            current[instruction.name] = instruction
    if not entry:
        raise ValueError("this text has no ENTRY computation: it is no program of XLA's")
    return Program(computations, entry)


def _join_lines(text: str) -> Iterator[str]:
    """Yield the lines of a program. An instruction that spans several lines becomes one.

    The notes of a kernel, and of what the compiler made of it, contain line breaks. The cycles stand behind
    them.
    """
    kept: list[str] = []
    for line in text.splitlines():
        begins = not line or line == "}" or line.startswith("  ") or _HEADER.match(line) is not None
        if begins and kept:
            yield " ".join(kept)
            kept = []
        kept.append(line)
    yield " ".join(kept)


def _parse_line(line: str) -> Instruction:
    left, _, right = line.strip().partition(" = ")
    kind, rest = _split_type(right)
    opcode, _, behind = rest.partition("(")
    end = _closing(f"({behind}")
    inside, text = behind[: end - 1], behind[end:]
    has_number = opcode in ("parameter", "constant") and re.fullmatch(r"-?\d+", inside) is not None
    return Instruction(
        name=left.removeprefix("ROOT ").lstrip("%"),
        opcode=opcode,
        arrays=tuple(Array(dtype, _shape(dims)) for dtype, dims in _ARRAY.findall(kind)),
        operands=tuple(re.findall(r"%([\w.\-]+)", inside)),
        text=text,
        is_root=left.startswith("ROOT "),
        number=int(inside) if has_number else None,
    )


def _split_type(text: str) -> tuple[str, str]:
    """Split "type opcode(...)" after the type, which may be a tuple with spaces in it."""
    end = _closing(text) + 1 if text.startswith("(") else text.index(" ")
    return text[:end], text[end:].lstrip()


def _closing(text: str) -> int:
    """Return where the parenthesis closes with which `text` begins."""
    depth = 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return at
    raise ValueError(f"a parenthesis is not closed in {text[:60]!r}")


def _shape(dims: str) -> tuple[int, ...]:
    return tuple(int(size) for size in dims.split(",") if size)
