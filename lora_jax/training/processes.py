"""Several processes of one computation (`jax.distributed`). The first one leads, and the others follow it.

A run on a mesh of several machines is one program that every process runs. Anything that depends on a file, a
clock or a signal could differ between processes, and then one would wait for another for ever. So the first
process decides it and tells the others (`decide`, `tell`). They receive it in the same order (`hear`). The
words go through the key-value store of `jax.distributed`. A process can wait there for hours without blocking
a device.

If there is only one process, all of this is a plain call.
"""

import atexit
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

import jax
import numpy as np
from jax._src.distributed import global_state  # the store has no public name

from lora_jax.errors import LoraJaxError, ProcessLost
from lora_jax.params import Params

T = TypeVar("T")
HEARTBEAT_SECONDS = 60  # after so long without a sign of a process, jax.distributed ends the others
SHUTDOWN_SECONDS = 60  # so long a process that ends waits for the others to end
POLL_MILLISECONDS = 1000  # length of one wait for a word; signals are handled in between
REMEMBERED = 1000  # number of words that are kept for processes that are behind
# Words in the errors that collectives and the coordination service raise when a process is gone.
LOST = re.compile("gloo|nccl|coordination|heartbeat|barrier|unavailable", re.IGNORECASE)
SAID, ENDED = "said", "ended"
BY_HAND = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_words, _rounds = count(), count()


class LeaderEnded(Exception):
    """The first process has ended. The others end as well, with the same exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True)
class Place:
    """Where this process is among those of its computation.

    None means that JAX finds it in SLURM's environment.

    Attributes:
        address: HOST:PORT of the first process.
        n_processes: Number of processes.
        number: Number of this process, from 0.
        has_node: Whether it is the only process on its machine, so that all devices there are its own.
    """

    address: str | None = None
    n_processes: int | None = None
    number: int | None = None
    has_node: bool = False


def find_place(env: Mapping[str, str]) -> Place | None:
    """Read from an environment where this process is among several.

    Args:
        env: The environment variables.

    Returns:
        The place. None if the process is alone.

    Raises:
        LoraJaxError: Only a part of it is set, or the numbers make no sense.
    """
    said = [name for name in BY_HAND if env.get(name)]
    if said == list(BY_HAND):
        address, n, number = (env[name] for name in BY_HAND)
        if not (n.isdecimal() and number.isdecimal() and int(number) < int(n)):
            raise LoraJaxError(
                f"JAX_NUM_PROCESSES is {n!r} and JAX_PROCESS_ID is {number!r}, but they must be a number of"
                " processes and this one's number, counted from 0: set both."
            )
        return Place(address, int(n), int(number)) if int(n) > 1 else None
    if set(said) & set(BY_HAND[1:]):
        missing = [name for name in BY_HAND if name not in said]
        raise LoraJaxError(
            f"The environment has {' and '.join(said)} without {' and '.join(missing)}: set all three for a"
            " run over several processes, or none."
        )
    n_tasks = int(env.get("SLURM_STEP_NUM_TASKS", "1"))  # the tasks of a step that srun started
    return Place(has_node=env.get("SLURM_STEP_NUM_NODES") == str(n_tasks)) if n_tasks > 1 else None


def run_together(lead: Callable[[], int], follow: Callable[[], int]) -> int:
    """Join the computation that the environment names.

    Call `lead` in the first process, `follow` in the others.

    Returns:
        The exit status of the first process, in every process. If there is only one process, that of `lead`.

    Raises:
        LoraJaxError: The environment names the computation only in part, or the processes do not find each
            other.
        ProcessLost: Another process has ended.
    """
    place = find_place(os.environ)
    if place is None:
        return lead()
    _join(place)
    try:
        return _lead(lead) if is_leader() else follow()
    except LeaderEnded as end:
        return end.status
    except (ValueError, RuntimeError) as error:  # JAX and orbax raise these if a process is gone
        told = " ".join(str(error).split())[:200]
        if not LOST.search(told):
            raise
        atexit.register(_leave)
        raise ProcessLost(
            f"Another process of this computation has ended, and this one with it ({told}): start all of"
            " them again, they go on from the last checkpoint."
        ) from error


def _join(place: Place) -> None:
    try:
        jax.distributed.initialize(
            place.address,
            place.n_processes,
            place.number,
            [] if place.has_node else None,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
            cluster_detection_method="deactivate" if place.address else None,
        )
    except (ValueError, RuntimeError) as error:
        told = " ".join(str(error).split())[:200]
        raise LoraJaxError(
            f"The processes of the computation have not found each other ({told}):"
            " start all of them, with one address, and let them reach it."
        ) from error


def _lead(lead: Callable[[], int]) -> int:
    status = ProcessLost.status  # if it ends by an exception that the other processes do not have
    try:
        status = lead()
    except LoraJaxError:
        status = 2
        raise
    finally:
        _write([ENDED, status])
    return status


def _leave() -> None:
    """Exit at once. JAX would otherwise wait at exit for a process that is gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ProcessLost.status)


def is_alone() -> bool:
    """Is this the only process of its computation?"""
    return global_state.client is None or global_state.num_processes == 1


def is_leader() -> bool:
    """Is this the first process? It alone writes records, tables and the tracker's files."""
    return global_state.process_id == 0


def decide(find: Callable[[], T]) -> T:
    """Return what the first process finds. The others do not look, they are told.

    Args:
        find: Returns something that JSON can hold. It must not call `decide` itself. If it raises, the other
            processes end.
    """
    if is_alone():
        return find()
    if not is_leader():
        return hear()
    found = find()
    tell(found)
    return found


def tell(word: Any) -> None:
    """Tell the other processes something that JSON can hold. Each of them calls `hear` once for it.

    Only the first process may call this.
    """
    if not is_alone():
        _write([SAID, word])


def _write(message: list[Any]) -> None:
    number = next(_words)
    _store().key_value_set(_key(number), json.dumps(message))
    if number >= REMEMBERED:
        _store().key_value_delete(_key(number - REMEMBERED))


def hear() -> Any:
    """Wait for the next word of the first process and return it.

    Raises:
        LeaderEnded: The first process has ended instead.
    """
    kind, word = json.loads(_wait_for(_key(next(_words))))
    if kind == ENDED:
        raise LeaderEnded(word)
    return word


def gather(word: str) -> list[str]:
    """Return what all processes say, in the order of their numbers. It waits until all have called it."""
    if is_alone():
        return [word]
    key = f"lora_jax/round{next(_rounds)}"
    _store().key_value_set(f"{key}/{global_state.process_id}", word)
    return [_wait_for(f"{key}/{number}") for number in range(global_state.num_processes)]


def call_in_turn(place: str, action: Callable[[], T]) -> T:
    """Call an action in every process. At each place, one process calls it first and the others wait.

    Args:
        place: Where the action works, such as a folder that the first call fills for the others.
        action: What to call.

    Returns:
        What the action returned in this process.
    """
    is_first = gather(place).index(place) == global_state.process_id
    found = [action()] if is_first or is_alone() else []
    gather("done")
    return found[0] if found else action()


def whole(params: Params) -> Params:
    """Return whole weights in the memory of the host, in every process.

    A process may hold only parts of them.
    """
    if is_alone():
        return params
    from jax.experimental import multihost_utils

    found: dict[str, Any] = {}
    for path, weight in params.items():
        found[path] = np.asarray(multihost_utils.process_allgather(weight, tiled=True))
    return found


def _store() -> Any:
    assert global_state.client is not None, "this process is one of several"
    return global_state.client


def _key(number: int) -> str:
    return f"lora_jax/word{number}"


def _wait_for(key: str) -> str:
    while True:
        try:
            return _store().blocking_key_value_get(key, POLL_MILLISECONDS)
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
