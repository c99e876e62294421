"""A checkpoint that is damaged anywhere is dropped, and training ends at the same bits."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lora_jax.config import RunConfig
from lora_jax.data import Dataset
from lora_jax.errors import LoraJaxError
from lora_jax.training.checkpoint import Checkpoints
from lora_jax.training.result import PretrainResult
from lora_jax.training.saving import Saving
from lora_jax.training.side_by_side import Stopped
from lora_jax.training.trunk import Trunk, train_trunks

EAGER = Saving(every_seconds=1e-9)  # after every turn of steps
STOP = 11  # calls of should_stop, one a step: in the trunk or in a branch


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def remove(path: Path) -> None:
    path.unlink()


def flip(place: float) -> Callable[[Path], None]:
    """Return what changes one byte of a file, `place` of its length from its start."""

    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(place * (len(content) - 1))] ^= 0x55
        path.write_bytes(content)

    return damage


DAMAGES = {
    "truncated": truncate,
    "emptied": empty,
    "removed": remove,
    **{f"flipped at {place:.0%}": flip(place) for place in (0.0, 0.33, 0.66, 1.0)},
}


def train(
    runs: list[RunConfig], dataset: Dataset, folder: Path, stop_after: int | None = None
) -> tuple[list[PretrainResult], list[str]]:
    """Train one trunk, saving after every step that is read; return what ended, and what was said."""
    calls, results, said = iter(range(10**9)), [], []
    train_trunks(
        [Trunk(tuple(runs), dataset, folder, say=said.append, saving=EAGER)],
        1,
        on_result=results.append,
        should_stop=lambda: stop_after is not None and next(calls) >= stop_after,
    )
    return results, said


def same(left: list[PretrainResult], right: list[PretrainResult]) -> None:
    assert [result.run for result in left] == [result.run for result in right]
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one.losses, other.losses)
        assert one.heldout == other.heldout


@pytest.fixture(scope="module")
def runs(base: RunConfig) -> list[RunConfig]:
    import dataclasses

    return [dataclasses.replace(base, n_tokens=n * base.tokens_per_step) for n in (20, 30)]


@pytest.fixture(scope="module")
def whole(
    runs: list[RunConfig], dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> list[PretrainResult]:
    return train(runs, dataset, tmp_path_factory.mktemp("whole"))[0]


def stop(runs: list[RunConfig], dataset: Dataset, folder: Path, after: int) -> None:
    with pytest.raises(Stopped):
        train(runs, dataset, folder, after)


def newest(folder: Path) -> Path:
    """Return the folder of the newest checkpoint of a trunk or branch."""
    return max((path for path in folder.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_one_damaged_file_is_told_and_the_one_before_is_gone_on_from(
    runs: list[RunConfig], dataset: Dataset, tmp_path: Path, whole: list[PretrainResult]
) -> None:
    stop(runs, dataset, tmp_path / "a", STOP)
    assert len(list((tmp_path / "a" / "trunk").glob("[0-9]*"))) == 2
    arrays = max(files_of(newest(tmp_path / "a" / "trunk")), key=lambda path: path.stat().st_size)
    flip(0.5)(arrays)
    results, said = train(runs, dataset, tmp_path / "a")
    same(results, whole)
    [line] = said
    assert str(arrays) in line
    assert "the checkpoint before it" in line
    assert "\n" not in line


@pytest.mark.slow
@pytest.mark.parametrize("part", ["trunk", "t2560"])
def test_with_no_sound_checkpoint_it_starts_again(
    runs: list[RunConfig], dataset: Dataset, tmp_path: Path, whole: list[PretrainResult], part: str
) -> None:
    stop(runs, dataset, tmp_path / "a", STOP if part == "trunk" else 18)
    for step in (path for path in (tmp_path / "a" / part).iterdir() if path.name.isdecimal()):
        flip(0.5)(files_of(step / "default" / "ocdbt.process_0")[0])
    results, said = train(runs, dataset, tmp_path / "a")
    same(results, whole)
    assert "again from its start" in said[-1]


@pytest.mark.slow
@pytest.mark.parametrize("part", ["trunk", "t2560"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_is_done_to_any_file_the_bits_are_the_same(
    runs: list[RunConfig],
    dataset: Dataset,
    tmp_path: Path,
    whole: list[PretrainResult],
    part: str,
    damage: str,
) -> None:
    """Every file of the newest checkpoint in turn; opening it is enough to see whether it is dropped."""
    stop(runs, dataset, tmp_path / "kept", STOP if part == "trunk" else 18)
    names = [path.relative_to(tmp_path / "kept") for path in files_of(newest(tmp_path / "kept" / part))]
    dropped = 0
    for number, name in enumerate(names):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "kept", folder)
        DAMAGES[damage](folder / name)
        said: list[str] = []
        checkpoints = Checkpoints(folder / part, said.append)
        checkpoints.close()
        dropped += len(said)
        if not said:
            assert name.name == "digests.json", f"{name} was {damage} and nothing was said"
            assert damage == "removed"
    assert dropped >= len(names) - 1
    for number in (0, len(names) // 2):
        same(train(runs, dataset, tmp_path / str(number))[0], whole)


def test_a_checkpoint_of_an_older_version_is_gone_on_from(
    runs: list[RunConfig], dataset: Dataset, tmp_path: Path, whole: list[PretrainResult]
) -> None:
    stop(runs, dataset, tmp_path / "a", STOP)
    for path in (tmp_path / "a").rglob("digests.json"):
        path.unlink()
    results, said = train(runs, dataset, tmp_path / "a")
    same(results, whole)
    assert said == []
    assert sum(result.cost.trained_tokens for result in results) < sum(o.cost.trained_tokens for o in whole)


def test_one_of_an_older_version_that_is_damaged_is_refused_in_a_sentence(
    runs: list[RunConfig], dataset: Dataset, tmp_path: Path
) -> None:
    stop(runs, dataset, tmp_path / "a", STOP)
    for path in (tmp_path / "a").rglob("digests.json"):
        path.unlink()
    step = newest(tmp_path / "a" / "trunk")
    empty(step / "default" / "_METADATA")
    with pytest.raises(
        LoraJaxError, match=r"The checkpoint .* cannot be read .*: delete that folder"
    ) as caught:
        train(runs, dataset, tmp_path / "a")
    assert str(step) in str(caught.value)
    assert "\n" not in str(caught.value)


FULL = """
import resource, signal, sys
from pathlib import Path
import jax.numpy as jnp
import numpy as np
from lora_jax.training.checkpoint import Checkpoints
from lora_jax.training.step import TrainState
import orbax.checkpoint
weights = {f"w{i}": jnp.full((40, 60), i, jnp.float32) for i in range(20)}
checkpoints = Checkpoints(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    checkpoints.save(TrainState(jnp.asarray(3), weights, {}), np.zeros(3))
except OSError as error:
    print(error)
"""


@pytest.mark.parametrize("most_bytes", [pytest.param(1500, marks=pytest.mark.slow), 2800])
def test_a_disk_without_room_leaves_no_stack_traces_of_threads(tmp_path: Path, most_bytes: int) -> None:
    """Of 20 weights, the writes of which end at different moments, before and after the first has failed."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), str(most_bytes)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "File too large" in done.stdout
    assert done.stderr == ""
