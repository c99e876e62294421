"""One side of a comparison in a process of its own: it does a thing on request and says how long it took.

Two libraries in one process share its memory, its threads and what they keep warm. Processes that take turns
do not: while one works the others wait for a line on a pipe. Each has a peak of memory of its own, too.
This file is also the program of such a process.
"""

import importlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_jax.errors import LoraJaxError

Turn = Callable[[int], float]  # does its work so many times over and returns the seconds

# Before a turn: the threads of the process before it spin for some milliseconds when they have nothing to do.
PAUSE = 0.05
TURN_SECONDS = 0.25  # a turn lasts at least as long, so that one has its caches and its threads to itself


@dataclass(frozen=True)
class Work:
    """What a side can do and what it has to tell: each action does its work n times and waits for the end."""

    actions: Mapping[str, Callable[[int], object]]
    facts: Mapping[str, Any]  # plain values, such as the loss at the start
    peak_bytes: Callable[[], int] | None = None  # of an accelerator; None: of the process


class Side:
    """A process that made its `Work` by a function of a module; to be closed."""

    def __init__(self, program: str, settings: Mapping[str, Any]) -> None:
        """Start it and wait until it is ready. program: "module:function" of the settings, returns a Work.

        Raises:
            LoraJaxError: what the function raised, or the last line of a process that ended.
        """
        self._program = program
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (what libraries print, for where it fails)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.side", program, json.dumps(dict(settings))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=os.environ | {"PYTHONPATH": _checkout_path()},
        )
        try:
            self.facts: dict[str, Any] = self._read()
        except BaseException:
            self.close()
            raise

    def time(self, action: str, times: int) -> float:
        """Return the seconds of an action done `times` over."""
        return self._ask({"action": action, "times": times})["seconds"]

    def turn(self, action: str) -> Turn:
        return lambda times: self.time(action, times)

    def peak_bytes(self) -> int:
        """Return the largest memory that the side has held so far, compilation and imports included."""
        return self._ask({"peak": True})["bytes"]

    def close(self) -> None:
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()  # the end of its work
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._said.close()

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            answer = json.loads(line)
            if "refused" in answer:
                raise LoraJaxError(answer["refused"])
            return answer
        status = self._process.wait()
        self._said.seek(0)
        last = self._said.read().decode(errors="replace").strip().splitlines()[-1:]
        raise LoraJaxError(
            f"{self._program} ended with status {status} in the middle of the benchmark (its last line:"
            f" {last}): leave its section out by --only, or mend what it says."
        )


def take_turns(turns: Mapping[str, Turn], repeats: int, turn_seconds: float = TURN_SECONDS) -> dict[Any, Any]:
    """Let the sides take turns, A B A B ..., and return {name: seconds of one action in each round}.

    Before the first round each acts twice: once to compile, once to tell how many actions fill a turn. Before
    each turn it acts once untimed: a virtual machine takes back what a process has freed while it waited, and
    the first step of a turn took 1.5 to 2.5 times as long as those after it.
    """
    times = {}
    for name, turn in turns.items():
        turn(1)
        times[name] = max(1, math.ceil(turn_seconds / turn(1)))
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(repeats):
        for name, turn in turns.items():
            time.sleep(PAUSE)
            turn(1)
            seconds[name].append(turn(times[name]) / times[name])
    return seconds


def read_peak_bytes() -> int:
    """Return the peak of this process's resident memory.

    By VmHWM on Linux: ru_maxrss would count the memory of the process that started this one, too.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def serve(program: str, settings: dict[str, Any]) -> None:
    """Make the work, tell its facts, and act on one line after another until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def answer(value: Mapping[str, Any]) -> None:
        answers.write(json.dumps(dict(value)) + "\n")
        answers.flush()

    module, function = program.split(":")
    try:
        work: Work = getattr(importlib.import_module(module), function)(settings)
        answer(work.facts)
        for line in sys.stdin:
            request = json.loads(line)
            if "peak" in request:
                answer({"bytes": (work.peak_bytes or read_peak_bytes)()})
                continue
            started = time.perf_counter()
            work.actions[request["action"]](request["times"])
            answer({"seconds": time.perf_counter() - started})
    except LoraJaxError as error:
        answer({"refused": str(error)})


def _checkout_path() -> str:
    folder = str(Path(__file__).resolve().parents[1])
    return os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))


if __name__ == "__main__":
    serve(sys.argv[1], json.loads(sys.argv[2]))
