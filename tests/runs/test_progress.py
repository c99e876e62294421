"""Progress: run k of n, and a time left that comes from the plan and the pace."""

import dataclasses
import io
import re
import sys
from types import SimpleNamespace

import pytest

from lora_jax.config import RunConfig
from lora_jax.runs import progress as progress_module
from lora_jax.runs.plan import PlannedRun, plan_runs
from lora_jax.runs.progress import Progress, format_duration
from lora_jax.runs.sweep import overlay
from lora_jax.target import find_device


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.fixture
def planned(base: RunConfig) -> list[PlannedRun]:
    """Four runs of one trunk, of 40 planned seconds in all, and one more that is finished."""
    step = base.tokens_per_step
    runs = [dataclasses.replace(base, n_tokens=n * step) for n in (10, 20, 30, 40, 50)]
    items = plan_runs(runs, (), find_device("h200"))
    items[0] = dataclasses.replace(items[0], finished=True, own_steps=0, seconds=0.0)
    return [items[0], *(dataclasses.replace(item, seconds=10.0) for item in items[1:])]


def train(progress: Progress, item: PlannedRun, clock: Clock, seconds: float, share: float = 1.0) -> None:
    """Take a tenth of a run's own steps at a time."""
    tokens = item.own_steps * item.run.tokens_per_step
    for part in range(round(10 * share)):
        clock.now += seconds / (10 * share)
        progress.advance(item.run, part + 1, 3.0, tokens // 10)


def test_lines_without_a_terminal(
    planned: list[PlannedRun], clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress(planned)
    with progress.showing():
        for item in planned[1:]:
            train(progress, item, clock, seconds=25.0)
            progress.finish_run(item.run_id, "held-out 3.5")
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    running = [line for line in lines if " left" in line]
    assert len(running) == 10, "100 seconds, a line every 10"
    numbers = [re.findall(r"run (\d) of 4", line)[0] for line in running]
    assert numbers == sorted(numbers)
    assert set(numbers) == set("1234")
    assert [line for line in lines if line.startswith("[")] == [f"[{k}/4] held-out 3.5" for k in (1, 2, 3, 4)]
    shares = [int(line.split("%")[0]) for line in running]
    assert shares == sorted(shares)
    assert re.search(r"d8x1 seed 0  step \d+/20  loss 3\.000  [\d,]+ tokens/s  \d+m\d\ds left", running[1])


def test_the_time_left_follows_the_pace(planned: list[PlannedRun], clock: Clock) -> None:
    progress = Progress(planned)
    assert progress.seconds_left() == pytest.approx(40.0), "before anything is known, the plan"
    for done, item in enumerate(planned[1:], 1):  # four times slower than planned
        train(progress, item, clock, seconds=40.0)
        progress.finish_run(item.run_id, "")
        left = 10.0 * (4 - done)
        assert left <= progress.seconds_left() <= 4 * left
        assert progress.share() == pytest.approx(done / 4)
    assert progress.seconds_left() == 0.0


def test_compilation_does_not_frighten(planned: list[PlannedRun], clock: Clock) -> None:
    progress = Progress(planned)
    clock.now += 5.0
    progress.advance(planned[1].run, 1, 5.5, planned[1].run.tokens_per_step)
    assert progress.seconds_left() < 3 * 40.0


def test_a_run_that_went_on_from_a_checkpoint_counts_as_done(planned: list[PlannedRun], clock: Clock) -> None:
    progress = Progress(planned)
    train(progress, planned[1], clock, seconds=2.0, share=0.2)
    progress.finish_run(planned[1].run_id, "")
    assert progress.share() == pytest.approx(1 / 4)
    # at the plan's own pace: two planned seconds were worked in two
    assert progress.seconds_left() == pytest.approx(30.0, rel=0.01)


def test_a_run_that_takes_no_step_at_all_counts_as_done(planned: list[PlannedRun], clock: Clock) -> None:
    """The longer runs of a trunk that diverged."""
    progress = Progress(planned)
    for item in planned[1:]:
        progress.finish_run(item.run_id, "DIVERGED")
    assert progress.share() == 1.0
    assert progress.seconds_left() == 0.0


def test_the_speed_is_that_of_training_not_of_what_lies_between(
    planned: list[PlannedRun], clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress(planned)
    first, second = planned[1:3]
    tokens = first.run.tokens_per_step
    for item in (first, second):
        clock.now += 60.0  # compilation, evaluation
        progress.advance(item.run, 1, 3.0, tokens)
        for step in range(2, 5):
            clock.now += 11.0
            progress.advance(item.run, step, 3.0, tokens)
        progress.finish_run(item.run_id, "")
    speeds = re.findall(r"([\d,]+) tokens/s", capsys.readouterr().err)
    assert set(speeds) == {f"{tokens / 11:,.0f}"}


def test_a_terminal_gets_a_bar(
    planned: list[PlannedRun], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    progress = Progress(planned)
    with progress.showing():
        train(progress, planned[1], clock, seconds=2.0)
        progress.finish_run(planned[1].run_id, "held-out [3.5]")
    text = terminal.getvalue()
    assert "[1/4] held-out [3.5]" in text
    assert "run 1 of 4" in text
    assert "25 %" in text


def last_frame(screen: str) -> str:
    """Return the last line that a terminal was told to show, without what moves its cursor and colours it."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    return [line for line in re.split(r"[\r\n]", text) if line.strip()][-1]


@pytest.mark.parametrize("speed", [950.0, 12_345.0, 1_234_567.0])
@pytest.mark.parametrize(
    ("columns", "has_bar", "words"),
    [(60, None, []), (80, None, []), (120, True, ["seed 11"]), (150, True, ["d8x1 seed 11", "step 10/30"])],
)
def test_what_matters_fits_every_terminal(
    planned: list[PlannedRun],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
    has_bar: bool | None,
    words: list[str],
    speed: float,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    many = [
        dataclasses.replace(planned[2], run_id=f"{i}", run=overlay(planned[2].run, {"seed": i}), seconds=1e4)
        for i in range(36)
    ]
    progress = Progress(many)
    with progress.showing():
        tokens = many[11].own_steps * many[11].run.tokens_per_step // 2
        for _ in range(2):
            clock.now += tokens / speed
            progress.advance(many[11].run, 10, 3.14159, tokens)
    line = last_frame(terminal.getvalue())
    assert len(line.rstrip()) <= columns
    rate = {950.0: "950 tok", 12_345.0: r"12(,345 tokens|k tok)", 1_234_567.0: r"1(,234,567 tokens|\.2M tok)"}
    pattern = rf"\b\d+ % .*run 12 of 36\b.* loss 3\.14.* {rate[speed]}\w*/s  \d+h\d\dm left"
    assert re.search(pattern, line), line
    assert "\u2026" not in line
    assert all(word in line for word in words), line
    if has_bar is not None:
        assert ("\u2501" in line) is has_bar, line


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0m00s"), (59.6, "1m00s"), (125, "2m05s"), (3599.7, "1h00m"), (7500, "2h05m")]
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_nothing_to_do_is_all_done(planned: list[PlannedRun]) -> None:
    progress = Progress(planned[:1])
    assert (progress.share(), progress.seconds_left()) == (1.0, 0.0)
