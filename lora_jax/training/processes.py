"""Several processes of one computation (`jax.distributed`): the first one leads, the others do as it says.

A run on a mesh of several machines is one program that every process runs. What depends on a file, a clock
or a signal could differ between them, and then one waits for another for ever. So the first process decides
it and tells the others (`decide`, `tell`), who take it in the same order (`hear`). The words go through the
key-value store of `jax.distributed`, where a process can wait for hours without holding up a device.

Where there is one process all of this is a plain call.
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
HEARTBEAT_SECONDS = 60  # without a sign of a process, after which jax.distributed ends the others
SHUTDOWN_SECONDS = 60  # that a process which ends waits for the others to end
POLL_MILLISECONDS = 1000  # of one wait for a word: a signal is answered in between
REMEMBERED = 1000  # words that are kept for processes that are behind
# what the collectives and the coordination service say when a process is gone
LOST = re.compile("gloo|nccl|coordination|heartbeat|barrier|unavailable", re.IGNORECASE)
SAID, ENDED = "said", "ended"
BY_HAND = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_words, _rounds = count(), count()


class LeaderEnded(Exception):
    """The first process has come to its end: so do the others, with the same exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True)
class Place:
    """Where this process is among those of its computation.

    Attributes:
        address: HOST:PORT of the first one. None where JAX finds it in SLURM's environment.
        n_processes: Number of processes. None as above.
        number: Its number, from 0. None as above.
        has_node: Whether it is the only one of its machine, so that all devices there are its own.
    """

    address: str | None = None
    n_processes: int | None = None
    number: int | None = None
    has_node: bool = False


def find_place(env: Mapping[str, str]) -> Place | None:
    """Return what an environment says of this process; None where it is alone.

    Raises:
        LoraJaxError: It is said in part.
    """
    said = [name for name in BY_HAND if env.get(name)]
    if said == list(BY_HAND):
        address, n, number = (env[name] for name in BY_HAND)
        if not (n.isdecimal() and number.isdecimal() and int(number) < int(n)):
            raise LoraJaxError(
                f"JAX_NUM_PROCESSES is {n!r} and JAX_PROCESS_ID is {number!r}, wanted a number of processes"
                " and this one's number, counted from 0: set both."
            )
        return Place(address, int(n), int(number)) if int(n) > 1 else None
    if set(said) & set(BY_HAND[1:]):
        missing = [name for name in BY_HAND if name not in said]
        raise LoraJaxError(
            f"The environment has {' and '.join(said)} without {' and '.join(missing)}: set all three for a"
            " run over several processes, or none."
        )
    n_tasks = int(env.get("SLURM_STEP_NUM_TASKS", "1"))  # of a step that srun began
    return Place(has_node=env.get("SLURM_STEP_NUM_NODES") == str(n_tasks)) if n_tasks > 1 else None


def run_together(lead: Callable[[], int], follow: Callable[[], int]) -> int:
    """Join the computation that the environment names; call `lead` in the first process, else `follow`.

    Returns:
        The exit status, in each process that of the first. Where there is one process, that of `lead`.

    Raises:
        LoraJaxError: The environment names it in part, or the other processes are not found.
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
    except (ValueError, RuntimeError) as error:  # as JAX and orbax raise it
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
    status = ProcessLost.status  # where it ends by an exception that none of the others has
    try:
        status = lead()
    except LoraJaxError:
        status = 2
        raise
    finally:
        _write([ENDED, status])
    return status


def _leave() -> None:
    """End now: what JAX does at exit waits for a process that is gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ProcessLost.status)


def is_alone() -> bool:
    """Is this the only process of its computation?"""
    return global_state.client is None or global_state.num_processes == 1


def is_leader() -> bool:
    """Is this the process that writes records, tables and the tracker's files? One of several does."""
    return global_state.process_id == 0


def decide(find: Callable[[], T]) -> T:
    """Return what the first process finds; the others do not look, they are told.

    find: returns what JSON can hold. It must not decide anything in turn. Where it raises, the others end.
    """
    if is_alone():
        return find()
    if not is_leader():
        return hear()
    found = find()
    tell(found)
    return found


def tell(word: Any) -> None:
    """Tell the others something that JSON can hold, which each `hear`s once; for the first process."""
    if not is_alone():
        _write([SAID, word])


def _write(message: list[Any]) -> None:
    number = next(_words)
    _store().key_value_set(_key(number), json.dumps(message))
    if number >= REMEMBERED:
        _store().key_value_delete(_key(number - REMEMBERED))


def hear() -> Any:
    """Return the next word of the first process, once it comes.

    Raises:
        LeaderEnded: It has ended instead.
    """
    kind, word = json.loads(_wait_for(_key(next(_words))))
    if kind == ENDED:
        raise LeaderEnded(word)
    return word


def gather(word: str) -> list[str]:
    """Return what all processes say, in their order, once all of them have called this."""
    if is_alone():
        return [word]
    key = f"lora_jax/round{next(_rounds)}"
    _store().key_value_set(f"{key}/{global_state.process_id}", word)
    return [_wait_for(f"{key}/{number}") for number in range(global_state.num_processes)]


def call_in_turn(place: str, action: Callable[[], T]) -> T:
    """Return what an action gives, in each process; of those of one place one comes before all others.

    place: such as a folder that an action fills for the others.
    """
    is_first = gather(place).index(place) == global_state.process_id
    found = [action()] if is_first or is_alone() else []
    gather("done")
    return found[0] if found else action()


def whole(params: Params) -> Params:
    """Return weights of which this process may hold a part, whole: in the memory of the host, of each."""
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
