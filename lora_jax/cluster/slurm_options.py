"""What a user asks of SLURM for each worker: `--slurm partition=gpu,gpus=1,hours=4`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Annotated

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.ranges import Range, check_fields, show, whole

OPTION = "--slurm"
FURTHER = "sbatch."  # stands in front of any other option of sbatch
MINUTES = whole(1, 366 * 24 * 60)
HOURS = Range(0, 366 * 24, above=True)
CPUS = whole(1, 4096)
NODES = whole(1, 10_000)
GPUS = whole(1, 64)

KEYS = ("partition", "account", "qos", "constraint", "nodes", "gpus", "cpus", "memory", "hours", "minutes")
# our name, by names of sbatch that users try first
OTHER_NAMES = {
    "time": "hours",
    "t": "hours",
    "mem": "memory",
    "p": "partition",
    "a": "account",
    "q": "qos",
    "c": "cpus",
    "cpus-per-task": "cpus",
    "cpus_per_task": "cpus",
    "gpus-per-node": "gpus",
    "gpus-per-task": "gpus",
    "g": "gpus",
}
# options of sbatch that we set, or that have another name here: what to use instead
RESERVED = {
    "time": "hours or minutes",
    "partition": "partition",
    "account": "account",
    "qos": "qos",
    "mem": "memory",
    "constraint": "constraint",
    "cpus-per-task": "cpus",
    "gpus": "gpus",
    "gpus-per-node": "gpus",
    "array": "--workers",
    "ntasks": "--workers",
    "ntasks-per-node": "--workers",
    "job-name": "nothing",
    "output": "nothing",
    "error": "nothing",
    "open-mode": "nothing",
    "signal": "nothing",
    "wrap": "nothing",
    "requeue": "nothing",
    "no-requeue": "nothing",
    "nodes": "nodes",
    "parsable": "nothing",
    "wait": "nothing",
}


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """What SLURM should give to each worker.

    Attributes:
        minutes: How long a worker may run. Then it is stopped, its state saved, and queued again.
        partition: As in sbatch. None leaves it to the cluster.
        account: As in sbatch. None leaves it to the cluster.
        qos: As in sbatch. None leaves it to the cluster.
        constraint: As in sbatch. None leaves it to the cluster.
        nodes: Machines of one worker, with one process on each.
        gpus: GPUs of a machine: how many, or which and how many, such as "a100:2". None asks for none.
        cpus: CPU cores of a machine. None takes as many as the cluster gives.
        memory: Memory of a machine with its unit, such as "32G". None takes as much as the cluster gives.
        further: Other options of sbatch: their names and values. The value is None if an option takes none.
    """

    minutes: Annotated[int, MINUTES]
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    nodes: Annotated[int, NODES] = 1
    gpus: str | None = None
    cpus: Annotated[int, CPUS] | None = None
    memory: str | None = None
    further: tuple[tuple[str, str | None], ...] = ()

    def __post_init__(self) -> None:
        for name in ("partition", "account", "qos", "constraint"):
            value = getattr(self, name)
            if value is not None:
                _check_text(name, value)
        for name, value in self.further:
            _check_further(name, value)
        if self.gpus is not None:
            _count_gpus(self.gpus)
        if self.memory is not None and _read_memory(self.memory) != self.memory:
            raise _wrong_memory(self.memory)
        check_fields(self, OPTION)

    @property
    def n_devices(self) -> int | None:
        """GPUs of one worker, on all of its machines. None if it asks for none."""
        return None if self.gpus is None else self.nodes * _count_gpus(self.gpus)


def read_slurm(text: str) -> SlurmOptions:
    """Return the options that a text asks for, such as "partition=gpu,gpus=1,hours=4,sbatch.exclude=node7".

    A value may hold commas: a part without `=` belongs to the value before it. `sbatch.NAME` alone is an
    option of sbatch without a value, such as `sbatch.exclusive`.

    Raises:
        LoraJaxError: A name is unknown or given twice, a value is out of range, or there is no time limit.
    """
    given: dict[str, str] = {}
    further: dict[str, str | None] = {}
    for name, value in _split(text):
        if name in given or name.removeprefix(FURTHER) in further:
            raise LoraJaxError(f"{OPTION} has {show(name)} twice: leave one out.")
        if name.startswith(FURTHER):
            further[name.removeprefix(FURTHER)] = value
        elif name not in KEYS:
            raise _unknown(name)
        elif not value:
            raise LoraJaxError(f"{OPTION} has {show(name)} without a value: write {name}=VALUE.")
        else:
            given[name] = value
    nodes, cpus, memory = given.get("nodes"), given.get("cpus"), given.get("memory")
    return SlurmOptions(
        minutes=_read_minutes(given.get("hours"), given.get("minutes")),
        partition=given.get("partition"),
        account=given.get("account"),
        qos=given.get("qos"),
        constraint=given.get("constraint"),
        nodes=1 if nodes is None else NODES.read(f"{OPTION} nodes", nodes),
        gpus=given.get("gpus"),
        cpus=None if cpus is None else CPUS.read(f"{OPTION} cpus", cpus),
        memory=None if memory is None else _read_memory(memory),
        further=tuple(further.items()),
    )


def _split(text: str) -> Iterator[tuple[str, str | None]]:
    """Yield (name, value) of each part. The value is None for a part without `=`."""
    found: list[list[str]] = []
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if equals:
            found.append([name.strip(), value.strip()])
        elif name.startswith(FURTHER) or not found:
            found.append([name])
        else:  # a list, such as node7,node8
            found[-1][-1] += f",{name}"
    return ((name, rest[0] if rest else None) for name, *rest in found)


def _unknown(name: str) -> LoraJaxError:
    known = OTHER_NAMES.get(name.lower())
    hint = f" (here it is {known!r})" if known else nearest(name, KEYS)
    return LoraJaxError(
        f"{OPTION} has no {show(name)}{hint}: correct it, or write {FURTHER}NAME=VALUE for an option of"
        " sbatch."
    )


def _read_minutes(hours: str | None, minutes: str | None) -> int:
    if hours is not None and minutes is not None:
        raise LoraJaxError(f"{OPTION} has both hours and minutes: leave one out.")
    if minutes is not None:
        return MINUTES.read(f"{OPTION} minutes", minutes)
    if hours is not None:
        return ceil(60 * HOURS.read(f"{OPTION} hours", hours))
    raise LoraJaxError(
        f"{OPTION} does not say how long a worker may run before it is queued again: add hours=N or"
        " minutes=N."
    )


def _count_gpus(text: str) -> int:
    """Return how many GPUs a text asks for. It is a number, or a kind and a number."""
    kind, colon, number = text.rpartition(":")
    if colon and not re.fullmatch(r"[\w.-]+", kind):
        raise LoraJaxError(f"{OPTION} gpus is {show(text)}, but it must look like 2 or a100:2: change it.")
    return GPUS.read(f"{OPTION} gpus", number)


def _read_memory(text: str) -> str:
    """Return memory with its unit. Without a unit it is in gigabytes."""
    found = re.fullmatch(r"([1-9]\d{0,6})([MGT]?)B?", text.upper())
    if found is None:
        raise _wrong_memory(text)
    return f"{found[1]}{found[2] or 'G'}"


def _wrong_memory(text: str) -> LoraJaxError:
    return LoraJaxError(f"{OPTION} memory is {show(text)}, but it must look like 32G or 500M: change it.")


def _check_text(name: str, value: str | None) -> None:
    if value is not None and (not value or not value.isprintable()):
        raise LoraJaxError(f"{OPTION} {name} is {show(value)}, but it must be a text on one line: change it.")


def _check_further(name: str, value: str | None) -> None:
    _check_text(f"{FURTHER}{name}", value)
    if not re.fullmatch(r"[a-z][a-z0-9-]+", name):
        raise LoraJaxError(
            f"{OPTION} has {show(FURTHER + name)}, which is no long option of sbatch: write"
            f" {FURTHER}NAME=VALUE."
        )
    ours = RESERVED.get(name)
    if ours is not None:
        remedy = "leave it out" if ours == "nothing" else f"say it by {ours}"
        raise LoraJaxError(f"{OPTION} has {FURTHER}{name}, which lora_jax sets itself: {remedy}.")
