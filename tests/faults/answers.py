"""What a command answers to an input, and whether it is an answer: numbers, or one sentence, status 2."""

import contextlib
import faulthandler
import io
import json
import math
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from lora_jax.cli import guard, main

LONGEST = 60.0  # seconds
NO_NUMBER = ("nan", "inf", "-inf", "+inf", "NaN", "Infinity", "-Infinity")


@dataclass(frozen=True)
class Answer:
    """status: None where something else than an answer came out, which `trace` has.

    repeats: the answer holds words of the question, a prompt, which may well say "nan".
    """

    status: int | None
    out: str
    err: str
    seconds: float
    trace: str = ""
    repeats: bool = False

    @property
    def fault(self) -> str | None:
        """What is wrong with it, None for nothing."""
        if self.seconds > LONGEST:
            return f"took {self.seconds:.0f} s"
        if self.status is None or "Traceback" in self.err or "Traceback" in self.out:
            return f"a stack trace: {self.trace or self.err or self.out}"
        if self.status == 2:
            lines = [
                line for line in self.err.splitlines() if line.startswith("lora-jax") or "error: " in line
            ]
            return None if len(lines) == 1 else f"{len(lines)} sentences with status 2: {self.err[-600:]!r}"
        if self.status != 0:
            return f"status {self.status}: {self.err[-600:]}"
        return None if self.repeats else _odd_number(self.out)


def ask(argv: list[str], repeats: bool = False) -> Answer:
    """Run a command of `lora-jax` in this process. repeats: see Answer."""
    return replace(_ask(lambda: main(argv)), repeats=repeats)


def call(action: Callable[[], Any]) -> Answer:
    """Call a function as a command would, inside the guard."""

    def run() -> int:
        action()
        return 0

    return _ask(lambda: guard(run))


def _ask(action: Callable[[], int]) -> Answer:
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    begun, status, trace = time.monotonic(), None, ""
    faulthandler.dump_traceback_later(5 * LONGEST, exit=True)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = action()
    except SystemExit as error:  # argparse says what is wrong with an option by it, and so may --help
        status = 2 if error.code == 2 else None
        trace = "" if status == 2 else f"SystemExit({error.code!r})"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        trace = "".join(traceback.format_exception(error)[-6:])
    finally:
        faulthandler.cancel_dump_traceback_later()
    said, told = (stream.detach().getvalue().decode("utf-8", "replace") for stream in (out, err))
    return Answer(status, said, told, time.monotonic() - begun, trace)


def _odd_number(out: str) -> str | None:
    """Return the first number of an answer that is none: JSON as it is read, else words of a table."""
    if out.lstrip().startswith(("{", "[")):
        try:
            document = json.loads(out, parse_constant=lambda name: _raise(name))
        except ValueError as error:
            return f"no JSON: {error}"
        return _not_finite(document)
    word = next((w for w in out.split() if w.strip("(),;=") in NO_NUMBER), None)
    return None if word is None else f"the answer holds {word!r}: {out[:400]}"


def _raise(name: str) -> None:
    raise ValueError(f"it holds {name}")


def _not_finite(value: Any) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"a number is {value}"
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for part in parts if (found := _not_finite(part)) is not None), None)
