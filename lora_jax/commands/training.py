"""What the commands share that train into a results folder: how, what the folder says of it, and the stop."""

import argparse
import contextlib
import sys
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lora_jax.training.saving import DEFAULT, Saving

if TYPE_CHECKING:
    from lora_jax.runs.signals import StopRequest
    from lora_jax.runs.tracking import TrackerName

STOPPED = "Stopped. Every finished run is kept; the same command goes on from here."


@dataclass(frozen=True)
class Origin:
    """How results were made, as the folder keeps it: the command, and the overrides in it."""

    command: str = ""
    overrides: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How a sweep is trained: options of `lora-jax scaling` and `finetune`, whose --help says what each does.

    lanes: None for as many as pay. saving: when states are saved, which is not part of a run's identity.
    """

    tracker: "TrackerName" = "off"
    lanes: int | None = 1
    halving: bool = False
    saving: Saving = DEFAULT
    origin: Origin = Origin()


def add_tracker(parser: argparse.ArgumentParser) -> None:
    """Add the option --tracker."""
    parser.add_argument(
        "--tracker",
        choices=("wandb", "trackio", "off"),
        default="wandb",
        help="where to log the runs: wandb, which stays offline unless WANDB_MODE=online, or trackio, a"
        " dashboard on this machine (pip install 'lora-jax[trackio]') (default: wandb)",
    )


class Asked(Protocol):
    """An experiment, whatever it trains."""

    @property
    def name(self) -> str: ...

    @property
    def question(self) -> str: ...


def describe_sweep(
    experiment: Asked, run_ids: Collection[str], data: Mapping[str, str], origin: Origin
) -> dict[str, Any]:
    """Return what a results folder says of itself: sweep.json. data: as `RunStore.claim` wants it."""
    return {
        "name": experiment.name,
        "question": experiment.question,
        "command": origin.command,
        "overrides": list(origin.overrides),
        "run_ids": list(run_ids),
        "data": dict(data),
    }


@contextlib.contextmanager
def until_stopped() -> "Generator[StopRequest]":
    """Train in the block; where a signal asks for it, training ends there with its state saved."""
    from lora_jax.runs.signals import stop_requests
    from lora_jax.training.side_by_side import Stopped

    with stop_requests() as stop, contextlib.suppress(Stopped):
        yield stop


def say(line: str) -> None:
    """Print a line of progress at once, also into a file: who waits for a long preparation is to see it."""
    print(line, flush=True)


def tell_status(stop: "StopRequest") -> int:
    """Return the exit status: 0, or that of the signal that stopped the training, which is then told."""
    if not stop():
        return 0
    print(STOPPED, file=sys.stderr)
    return stop.exit_status
