"""What is shown of a long fit: after two seconds, on a terminal, with the time left, and nothing stays."""

import io
import sys
import time

import pytest

from lora_jax.commands import waiting
from lora_jax.scaling.progress import begin_step


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_the_step_and_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(waiting, "PATIENCE", 0.0)
    with waiting.waiting():
        done = begin_step("bootstrap", 10)
        time.sleep(0.3)
        done(5)
        time.sleep(0.3)
    assert "bootstrap" in terminal.getvalue()
    assert "50 %" in terminal.getvalue()
    assert "left" in terminal.getvalue()


def test_what_is_short_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with waiting.waiting():
        begin_step("bootstrap", 10)(10)
    assert terminal.getvalue() == ""


def test_a_file_gets_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0.0)
    monkeypatch.setattr(waiting, "BETWEEN", 0.2)
    with waiting.waiting():
        done = begin_step("bootstrap", 10)
        done(5)
        time.sleep(0.5)
        done(5)
    out, err = capsys.readouterr()
    assert out == ""
    first, *more = err.splitlines()
    assert first.startswith("50 % of bootstrap  ")
    assert first.endswith(" left")
    assert len(more) <= 1
    time.sleep(0.5)
    assert capsys.readouterr() == ("", ""), "nothing is written behind the end"


def test_what_is_short_writes_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting.waiting():
        begin_step("bootstrap", 10)(10)
    assert capsys.readouterr() == ("", "")


def test_the_time_left_is_at_the_pace_so_far() -> None:
    assert waiting.describe("bootstrap", 0.25, 30.0) == "bootstrap  1m30s left"
    assert waiting.describe("bootstrap", 0.001, 30.0) == "bootstrap", "too early to say"
