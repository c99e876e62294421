"""Live files: a row is never lost, written twice, or read in half."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_jax.errors import Damaged
from lora_jax.runs.sinks.live_file import LiveFiles, live_path, read_live, read_run
from lora_jax.training.heldout import HeldOut
from lora_jax.training.rows import Row, Source

SOURCE = Source(name="trunk", run=None, run_ids=("a", "b"), n_steps=100)
BRANCH = Source(name="a", run=None, run_ids=("a",), n_steps=60, beginning="trunk")


def row(step: int, heldout: HeldOut | None = None) -> Row:
    return Row(
        step=step,
        n_tokens=10 * step,
        new_tokens=10,
        flops=1e3 * step,
        learning_rate=0.1,
        data_seconds=0.0,
        loss=1 / step,
        heldout=heldout,
    )


def write(folder: Path, source: Source, begin: int, steps: list[int], end: bool = False) -> None:
    """Do as one process: begin, give the rows of these steps, and end, or be killed."""
    files = LiveFiles(folder)
    files.begin(source, begin)
    for step in steps:
        files.take(source, row(step))
    if end:
        files.end(source)


def steps_of(folder: Path, name: str = "trunk") -> list[int]:
    live = read_live(folder, name)
    assert live is not None
    return [one.step for one in live.rows]


def test_rows_are_read_back_as_they_were(tmp_path: Path) -> None:
    files = LiveFiles(tmp_path)
    files.begin(SOURCE, 0)
    wanted = [row(1), row(5, HeldOut(2.5, None)), row(9, HeldOut(2.0, 0.1))]
    for one in wanted:
        files.take(SOURCE, one)
    live = read_live(tmp_path, "trunk")
    assert live is not None
    assert (list(live.rows), live.ended, live.head.run_ids) == (wanted, False, ("a", "b"))
    files.end(SOURCE)
    live = read_live(tmp_path, "trunk")
    assert live is not None
    assert live.ended
    assert read_live(tmp_path, "another") is None


@given(
    first=st.lists(st.integers(1, 100), unique=True),
    saved=st.integers(0, 100),
    more=st.lists(st.integers(1, 100), unique=True),
    torn=st.binary(max_size=20),
)
def test_a_killed_stream_goes_on_without_a_repeat(
    tmp_path_factory: pytest.TempPathFactory, first: list[int], saved: int, more: list[int], torn: bytes
) -> None:
    folder, first = tmp_path_factory.mktemp("live"), sorted(first)
    saved = min(saved, first[-1] if first else 0)
    more = sorted(step for step in more if step > saved)
    write(folder, SOURCE, 0, first)
    with live_path(folder, "trunk").open("ab") as file:
        file.write(torn.replace(b"\n", b""))
    assert steps_of(folder) == first
    write(folder, SOURCE, saved, more)
    steps = steps_of(folder)
    assert steps == sorted(set(steps)) == sorted({*first, *(s for s in more if s > max([0, *first]))})


def test_a_stream_that_ended_is_begun_anew_or_goes_on_longer(tmp_path: Path) -> None:
    write(tmp_path, SOURCE, 0, [1, 2, 3], end=True)
    write(tmp_path, SOURCE, 3, [4, 5])  # a longer run was added to the sweep
    assert steps_of(tmp_path) == [1, 2, 3, 4, 5]
    write(tmp_path, SOURCE, 5, [6], end=True)
    write(tmp_path, SOURCE, 0, [1, 2])  # its record was deleted to train it again
    assert steps_of(tmp_path) == [1, 2]


def test_a_branch_begins_with_the_rows_of_its_trunk(tmp_path: Path) -> None:
    write(tmp_path, SOURCE, 0, [10, 20, 30, 40, 50])
    write(tmp_path, BRANCH, 30, [35, 40])
    live = read_live(tmp_path, "a")
    assert live is not None
    assert [one.step for one in read_run(tmp_path, live)] == [10, 20, 30, 35, 40]


@pytest.mark.parametrize("line", ["{", "[1]", '{"step": "x"}', '{"step": 3}', "nonsense"])
def test_a_damaged_line_is_told(tmp_path: Path, line: str) -> None:
    write(tmp_path, SOURCE, 0, [1])
    with live_path(tmp_path, "trunk").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(Damaged, match=r"trunk\.jsonl is damaged in line 3"):
        read_live(tmp_path, "trunk")
