"""Which matrices a method adapts: patterns, and the error if a pattern names none."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.model.stacks import BLOCKS, TOP_BLOCKS, inside_block
from lora_jax.params import Spec

GROUPS: Mapping[str, tuple[str, ...]] = {
    "attention": ("q", "k", "v", "o"),
    "mlp": ("up", "gate", "down"),
    "all": ("q", "k", "v", "o", "up", "gate", "down"),  # every matrix of a block
}
DISTANCES = "attn/r"  # Transformer-XL's projection of distances, through which no token passes
OUTSIDE = {"embed/tokens": "embedding", "head": "head"}
Value = TypeVar("Value")


def short_name(path: str) -> str | None:
    """Return a matrix's name in a pattern, such as "q", "embedding" or "head". None for other weights."""
    if path in OUTSIDE:
        return OUTSIDE[path]
    inner = inside_block(path)
    return inner.rpartition("/")[2] if inner and inner.count("/") == 1 else None


def matches(pattern: str, path: str) -> bool:
    """Return whether a pattern names this weight.

    A pattern is a short name, a group, or a glob on the weight's path, either the whole path or the path in
    the block.
    """
    name = short_name(path)
    if name in GROUPS.get(pattern, (pattern,)):
        return True
    return fnmatchcase(path, pattern) or fnmatchcase(inside_block(path) or path, pattern)


def find_targets(specs: Mapping[str, Spec], patterns: Iterable[str], n_top: int = 0) -> list[str]:
    """Return the paths of the matrices that the patterns name. With n_top > 0, only the upper stack counts.

    Raises:
        LoraJaxError: A pattern matches nothing, only a part of a name, or a weight that is no matrix. Or it
            names a head or an embedding that are one tied matrix.
    """
    stack = TOP_BLOCKS if n_top else BLOCKS
    there = {p: s for p, s in specs.items() if inside_block(p) is None or p.startswith(stack)}
    table = adaptable(there)
    tied = is_tied(specs)
    found: list[str] = []
    for pattern in patterns:
        if tied and any(matches(pattern, path) for path in OUTSIDE):
            raise LoraJaxError(
                f"the target {pattern!r} names a head that is tied to the embedding, so that adapting one"
                f" would change the other: untie it first (untie of lora_jax.model.untie), or choose among"
                f" {_list({p: s for p, s in table.items() if p not in OUTSIDE})}."
            )
        hits = [path for path in there if matches(pattern, path)]
        wrong = [path for path in hits if path not in table]
        if wrong:
            raise LoraJaxError(
                f"the target {pattern!r} half-matches: {wrong[0]} is no matrix of a linear layer; there are"
                f" {_list(table)}."
            )
        if not hits:
            raise LoraJaxError(
                f"the target {pattern!r} matches no matrix{nearest(pattern, _names(table))}; there are"
                f" {_list(table)}."
            )
        found += [path for path in hits if path not in found]
    if not found:
        raise LoraJaxError(f"no targets were given: name at least one of {_list(table)}.")
    return found


def by_pattern(path: str, choices: Iterable[tuple[str, Value]], default: Value) -> Value:
    """Return the value of the last pattern that names this weight. If none does, return the default."""
    chosen = default
    for pattern, value in choices:
        if matches(pattern, path):
            chosen = value
    return chosen


def check_patterns(paths: Iterable[str], patterns: Iterable[str], what: str) -> None:
    """Refuse a pattern of a rank or an alpha that names none of the targets.

    Raises:
        LoraJaxError: A pattern names no target.
    """
    paths = list(paths)
    for pattern in patterns:
        if not any(matches(pattern, path) for path in paths):
            names = sorted({short_name(path) or path for path in paths})
            raise LoraJaxError(
                f"{what} has the pattern {pattern!r}, which names none of the targets"
                f"{nearest(pattern, names)}."
            )


def adaptable(specs: Mapping[str, Spec]) -> dict[str, Spec]:
    """Return the matrices that can get a low-rank update: those of blocks, the head and the embedding."""
    return {
        path: spec
        for path, spec in specs.items()
        if path in OUTSIDE or (inside_block(path) not in (None, DISTANCES) and spec.contract)
    }


def is_tied(specs: Mapping[str, Spec]) -> bool:
    """Return whether the embedding is also the head."""
    return bool(specs["embed/tokens"].contract)


def _names(table: Mapping[str, Spec]) -> list[str]:
    return [short_name(path) or path for path in table] + list(GROUPS)


def _list(table: Mapping[str, Spec]) -> str:
    rows = (f"{short_name(path)} ({' x '.join(map(str, spec.shape))})" for path, spec in table.items())
    return ", ".join(rows)
