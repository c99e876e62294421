"""A large state is written while training goes on: the same bits, never half of it, and a failure is told."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from lora_jax.config import RunConfig
from lora_jax.data import Dataset
from lora_jax.training import checkpoint
from lora_jax.training.checkpoint import Checkpoints
from lora_jax.training.lanes import Lanes
from lora_jax.training.pretraining import init_pretraining, make_input, make_pretraining_step
from lora_jax.training.saving import KeptStates, Saving
from lora_jax.training.side_by_side import Stopped
from lora_jax.training.step import TrainState
from tests.training.test_saving import same, steps_in, train


@pytest.fixture(autouse=True)
def background(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every state is large."""
    monkeypatch.setattr(checkpoint, "BACKGROUND_BYTES", 0)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Checkpoints]:
    checkpoints = Checkpoints(tmp_path / "states")
    yield checkpoints
    checkpoints.close()


def make_state(step: int, scale: float = 1.0) -> TrainState:
    weights = {f"w{i}": scale * jnp.arange(3000.0) + i + step for i in range(4)}
    return TrainState(jnp.asarray(step), weights, {"half": jnp.ones((7,), jnp.bfloat16) / 3})


def same_state(one: TrainState, other: TrainState) -> None:
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert left.dtype == right.dtype
        assert np.asarray(left).tobytes() == np.asarray(right).tobytes()


def test_what_is_restored_is_the_state_at_its_step_though_training_went_on_with_it(
    base: RunConfig, dataset: Dataset, folder: Checkpoints
) -> None:
    """The state itself is donated to the next steps, before it is on the disk."""
    step = jax.jit(make_pretraining_step(base.model, base.optim), donate_argnums=0)
    state = init_pretraining(base.model, base.optim, 0)
    for number in range(6):
        state, _ = step(state, {}, make_input(base, dataset, number))
        if number == 2:
            kept = jax.tree.map(np.array, state)
            folder.save(state, np.zeros(3))
    assert folder.steps() == [3]
    same_state(folder.restore(state)[0], kept)


def test_a_lane_goes_on_while_its_state_is_written(
    base: RunConfig, dataset: Dataset, folder: Checkpoints
) -> None:
    lanes = Lanes(
        make_pretraining_step(base.model, base.optim), [init_pretraining(base.model, base.optim, 0)]
    )
    lanes.step([make_input(base, dataset, 0)])
    kept = jax.tree.map(np.array, lanes.read(0))
    release = threading.Event()
    folder.save(lanes.read(0), np.zeros(1), then=lambda: _await(release))
    for number in range(1, 4):
        lanes.step([make_input(base, dataset, number)])
    release.set()
    same_state(folder.restore(lanes.read(0))[0], kept)


def _await(event: threading.Event) -> None:
    assert event.wait(30)


def test_two_writings_never_overlap_and_questions_wait(folder: Checkpoints, tmp_path: Path) -> None:
    release, ended = threading.Event(), []

    def wait_and_end() -> None:
        _await(release)
        ended.append(1)

    folder.save(make_state(1), np.zeros(1), then=wait_and_end)
    other = Checkpoints(tmp_path / "other")
    other.save(make_state(9), np.zeros(9), then=lambda: ended.append(9))
    threading.Timer(0.3, release.set).start()
    assert ended == []
    folder.save(make_state(2), np.zeros(2), then=lambda: ended.append(2))
    assert ended[0] == 1, "the state before it was on the disk"
    assert folder.steps() == [2, 1]
    other.close()
    assert sorted(ended) == [1, 2, 9]


def test_a_state_that_is_kept_is_copied_when_it_is_whole(tmp_path: Path) -> None:
    kept = KeptStates(tmp_path / "kept", frozenset({2}))
    checkpoints = Checkpoints(tmp_path / "states", kept=kept)
    for step in (1, 2):
        checkpoints.save(make_state(step), np.zeros(step))
    checkpoints.close()
    assert steps_in(tmp_path / "kept") == {2}
    assert (tmp_path / "kept" / "2" / "digests.json").is_file()
    reader, place = ocp.PyTreeCheckpointer(), tmp_path / "kept" / "2" / "default"
    described = reader.metadata(place).item_metadata
    assert described is not None
    there = described.tree
    kinds = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), there)
    tree = reader.restore(place, restore_args=kinds)
    np.testing.assert_array_equal(tree["state"][".trainable['w1']"], make_state(2).trainable["w1"])


@pytest.mark.parametrize(
    "saving",
    [
        pytest.param(Saving(every_steps=1), marks=pytest.mark.slow),
        Saving(every_steps=3, fractions=(0.3,)),
    ],
)
def test_a_run_that_stops_and_goes_on_has_the_bits_of_one_that_does_not(
    base: RunConfig, dataset: Dataset, tmp_path: Path, saving: Saving
) -> None:
    whole = train([base], dataset, tmp_path / "whole", Saving())
    with pytest.raises(Stopped):
        train([base], dataset, tmp_path / "a", saving, stop_after=17)
    assert max(steps_in(tmp_path / "a" / "trunk")) == 18
    same(train([base], dataset, tmp_path / "a", saving), whole)
    if saving.fractions:
        assert steps_in(tmp_path / "a" / "kept") == {15}


# ---- what goes wrong

HEAD = """
import os, resource, signal, sys
from pathlib import Path
import numpy as np
from lora_jax.training import checkpoint
from tests.training.test_background import make_state
checkpoint.BACKGROUND_BYTES = 0
checkpoints = checkpoint.Checkpoints(Path(sys.argv[1]))
checkpoints.save(make_state(1), np.zeros(1))
checkpoints.wait()
"""
FULL = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2800, 2800))
checkpoints.save(make_state(2), np.zeros(2))
print("went on")
for ask in (checkpoints.close, checkpoints.close):
    try:
        ask()
    except OSError as error:
        print(error)
"""
KILLED = """
checkpoints.save(make_state(2), np.zeros(2))
os.kill(os.getpid(), signal.SIGKILL)
"""


def run(code: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{HEAD}{code}", str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=root,
    )


def test_a_disk_that_fills_up_is_told_where_it_is_asked_for_next(tmp_path: Path) -> None:
    done = run(FULL, tmp_path)
    assert done.stderr == ""
    told = done.stdout.splitlines()
    assert told[0] == "went on"
    assert [line for line in told if "File too large" in line] == told[1:]
    assert len(told) == 2, "it is told once"
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.steps() == [1]
    same_state(checkpoints.restore(make_state(5))[0], make_state(1))
    checkpoints.close()


def test_a_process_that_is_killed_leaves_the_state_before(tmp_path: Path) -> None:
    assert run(KILLED, tmp_path).returncode == -signal.SIGKILL
    said: list[str] = []
    checkpoints = Checkpoints(tmp_path, said.append)
    newest, *_ = checkpoints.steps()
    same_state(checkpoints.restore(make_state(5))[0], make_state(newest))
    assert said == []
    checkpoints.close()
