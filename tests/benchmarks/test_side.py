"""A side is a process of its own: its time, its memory, its mistakes; the sides take turns."""

import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.side import Side, read_peak_bytes, take_turns
from lora_jax.errors import LoraJaxError

MEGABYTE = 1_000_000
PROGRAM = """
import sys, time
from benchmarks.side import Work
from lora_jax.errors import LoraJaxError

def work(settings):
    print("a library says hello")
    held = []

    def sleep(times):
        time.sleep(times * settings["seconds"])

    def hold(times):
        held.append(b"1" * (times * 1_000_000))

    def refuse(times):
        raise LoraJaxError("this cannot be: change it.")

    def die(times):
        print("out of luck", file=sys.stderr)
        sys.exit(4)

    return Work({"sleep": sleep, "hold": hold, "refuse": refuse, "die": die}, {"loss": 0.5})
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "a_program.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "a_program:work"


def test_a_side_tells_its_facts_its_time_and_its_own_memory(program: str) -> None:
    ballast = np.ones(300 * MEGABYTE, np.uint8)  # in this process, and none of the side's business
    with Side(program, {"seconds": 0.1}) as side:
        assert side.facts == {"loss": 0.5}
        assert 0.2 <= side.time("sleep", 2) < 1.0
        before = side.peak_bytes()
        assert before < 100 * MEGABYTE
        side.time("hold", 200)
        assert side.peak_bytes() - before == pytest.approx(200 * MEGABYTE, rel=0.1)
        assert side.peak_bytes() < ballast.nbytes + 100 * MEGABYTE
    assert read_peak_bytes() > 300 * MEGABYTE


def test_what_a_side_refuses_is_refused_in_its_words(program: str) -> None:
    with Side(program, {"seconds": 0}) as side, pytest.raises(LoraJaxError, match="this cannot be"):
        side.time("refuse", 1)


def test_a_side_that_ends_is_no_measurement(program: str) -> None:
    with Side(program, {"seconds": 0}) as side, pytest.raises(LoraJaxError, match=r"status 4.*out of luck"):
        side.time("die", 1)


def test_a_side_that_cannot_start_says_why() -> None:
    with pytest.raises(LoraJaxError, match=r"status 1.*No module named 'no_such_module'"):
        Side("no_such_module:work", {})


def test_turns_alternate_and_last_long_enough() -> None:
    calls: list[tuple[str, int]] = []

    def turn(name: str, seconds: float):
        def act(times: int) -> float:
            calls.append((name, times))
            return times * seconds

        return act

    seconds = take_turns({"a": turn("a", 0.1), "b": turn("b", 0.35)}, repeats=2, turn_seconds=0.3)
    assert calls[:4] == [("a", 1), ("a", 1), ("b", 1), ("b", 1)], "to compile, and to see how long it takes"
    assert calls[4:] == [("a", 1), ("a", 3), ("b", 1), ("b", 1)] * 2, "one before each, untimed"
    assert seconds == {"a": pytest.approx([0.1, 0.1]), "b": [0.35, 0.35]}


def test_before_a_turn_the_threads_of_the_one_before_come_to_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    take_turns({"a": float, "b": float}, repeats=3, turn_seconds=0.1)
    assert len(slept) == 6
