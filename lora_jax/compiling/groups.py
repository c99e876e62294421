"""Which devices take part in a collective together, and how many machines they are on.

A device is named by its place in the order of the mesh, in which the devices of one machine are neighbours.
"""

import math
import re
from collections.abc import Sequence

import numpy as np

from lora_jax.compiling.hlo import Instruction

Groups = Sequence[Sequence[int]]


def read_groups(instruction: Instruction, n_devices: int) -> Groups:
    """Return the groups of a collective, by any of the three ways that XLA writes them in.

    {{0,1},{2,3}}, [2,2]<=[4] and mesh['a'=2,'b'=2] {'b'} are the same groups, and [2,2]<=[2,2]T(1,0) are the
    groups {{0,2},{1,3}}. A collective that names none is of all devices.
    """
    listed = instruction.attribute(r"replica_groups=\{(\{[\d,{} ]*\})\}")
    if listed:
        return _read_list(listed)
    counted = re.search(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", instruction.text)
    if counted:
        shape, sizes, order = (_numbers(text or "") for text in counted.groups())
        numbered = np.arange(math.prod(sizes)).reshape(sizes)
        return numbered.transpose(order or None).reshape(shape).tolist()
    named = re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", instruction.text)
    if named is None:
        return [range(n_devices)]
    axes = {name: int(size) for name, size in re.findall(r"('[^']*')=(\d+)", named[1])}
    joined = re.findall(r"'[^']*'", named[2])
    numbered = np.arange(math.prod(axes.values())).reshape(tuple(axes.values()))
    behind = [at for at, name in enumerate(axes) if name in joined]
    before = [at for at, name in enumerate(axes) if name not in joined]
    n_members = math.prod(axes[name] for name in joined)
    return numbered.transpose(before + behind).reshape(-1, n_members).tolist()


def read_pairs(instruction: Instruction) -> Groups:
    """Return from whom to whom a permutation hands arrays on."""
    return _read_list(instruction.attribute(r"source_target_pairs=\{(\{[\d,{} ]*\})\}") or "")


def count_hosts(groups: Groups, n_per_host: int) -> int:
    """Return on how many machines the members of a group are, of the group that is on most."""
    return max((len({member // n_per_host for member in group}) for group in groups), default=1)


def _read_list(text: str) -> Groups:
    return [_numbers(group) for group in re.findall(r"\{([\d, ]*)\}", text)]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]
