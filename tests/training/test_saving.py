"""How often states are saved changes no bit of a run; a state that is kept is the run's own at its step."""

import argparse
import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest

from lora_jax.commands.saving_options import add_saving, read_saving
from lora_jax.config import RunConfig
from lora_jax.data import Dataset
from lora_jax.digests import find_damage
from lora_jax.errors import LoraJaxError
from lora_jax.params import Params
from lora_jax.training.checkpoint import clear
from lora_jax.training.lanes import compile_step
from lora_jax.training.pretraining import init_pretraining, make_input, make_pretraining_step
from lora_jax.training.result import PretrainResult
from lora_jax.training.saving import DEFAULT, Saving
from lora_jax.training.side_by_side import Stopped
from lora_jax.training.trunk import Trunk, train_trunks

PAGE = Path(__file__).parents[2] / "docs" / "watching-runs.md"
KEEPING = Saving(fractions=(0.25, 0.5, 0.9, 1.0))
# Of the runs of 20 and 40 steps, whose cooldowns start at steps 16 and 32.
TRUNK_STEPS, BRANCH_STEPS = {5, 10, 20}, {"t2560": {18, 20}, "t5120": {36, 40}}


def train(
    runs: list[RunConfig], dataset: Dataset, folder: Path, saving: Saving, stop_after: int | None = None
) -> list[PretrainResult]:
    calls, results = iter(range(10**9)), []
    train_trunks(
        [Trunk(tuple(runs), dataset, folder, saving=saving)],
        1,
        on_result=results.append,
        should_stop=lambda: stop_after is not None and next(calls) >= stop_after,
    )
    return results


def same(left: list[PretrainResult], right: list[PretrainResult]) -> None:
    for one, other in zip(left, right, strict=True):
        assert one.losses.tobytes() == other.losses.tobytes()
        assert (one.run, one.heldout) == (other.run, other.heldout)


def steps_in(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.iterdir() if path.name.isdecimal()}


@pytest.fixture(scope="module")
def runs(base: RunConfig) -> list[RunConfig]:
    return [dataclasses.replace(base, n_tokens=n * base.tokens_per_step) for n in (20, 40)]


@pytest.fixture(scope="module")
def kept(
    runs: list[RunConfig], dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[PretrainResult]]:
    """Return a trunk's folder after its runs have ended, with states that were kept, and the results."""
    folder = tmp_path_factory.mktemp("results") / "checkpoints" / "trunk_id"
    return folder, train(runs, dataset, folder, KEEPING)


def weights_at(run: RunConfig, dataset: Dataset, step: int) -> Params:
    """Train by the plain loop; return the weights after so many steps."""
    state = init_pretraining(run.model, run.optim, run.seed)
    compiled = compile_step(make_pretraining_step(run.model, run.optim), side_by_side=False)
    for number in range(step):
        state, _ = compiled(state, {}, {}, make_input(run, dataset, number))
    return state.trainable


def test_the_steps_kept_are_the_shares_asked_for(kept: tuple[Path, list[PretrainResult]]) -> None:
    folder, _ = kept
    assert steps_in(folder / "kept") == TRUNK_STEPS
    for name, steps in BRANCH_STEPS.items():
        assert steps_in(folder / "kept" / name) == steps


def test_a_kept_state_is_that_of_the_plain_loop(
    kept: tuple[Path, list[PretrainResult]], runs: list[RunConfig], dataset: Dataset
) -> None:
    folder, results = kept
    for run, result, place in [(runs[1], results[1], "20"), (runs[0], results[0], "t2560/18")]:
        step = int(Path(place).name)
        tree = ocp.StandardCheckpointer().restore(folder / "kept" / place / "default")
        assert int(tree["state"][".step"]) == step
        np.testing.assert_array_equal(tree["losses"], result.losses[:step])
        for path, weight in weights_at(run, dataset, step).items():
            np.testing.assert_array_equal(tree["state"][f".trainable['{path}']"], weight)


def test_a_run_that_starts_from_a_kept_state_has_the_same_losses(
    kept: tuple[Path, list[PretrainResult]], runs: list[RunConfig], dataset: Dataset, tmp_path: Path
) -> None:
    folder, results = kept
    shutil.copytree(folder / "kept" / "10", tmp_path / "trunk" / "10")
    again = train(runs, dataset, tmp_path, DEFAULT)
    same(again, results)
    trained = [sum(one.cost.trained_tokens for one in found) for found in (results, again)]
    assert trained[0] - trained[1] == 10 * runs[0].tokens_per_step


@pytest.mark.parametrize(
    "saving",
    [
        Saving(every_steps=1, n_kept=1),
        Saving(every_steps=3, n_kept=4, fractions=(0.3, 0.45)),
        Saving(every_seconds=1e-9, n_kept=1),
    ],
)
def test_however_often_it_is_saved_it_goes_on_to_the_same_bits(
    kept: tuple[Path, list[PretrainResult]],
    runs: list[RunConfig],
    dataset: Dataset,
    tmp_path: Path,
    saving: Saving,
) -> None:
    """Stopped on the trunk, and gone on from what was saved before the stop, as after a kill."""
    with pytest.raises(Stopped):
        train(runs, dataset, tmp_path, saving, stop_after=13)
    steps = steps_in(tmp_path / "trunk")
    assert len(steps) <= saving.n_kept
    if saving.every_steps == 3:  # of 20 and 40 steps, 0.3 and 0.45 are 6, 9, 12 and 18
        assert steps == {6, 9, 12, 14}
        assert steps_in(tmp_path / "kept") == {6, 9, 12}
    if saving.n_kept > 1:
        shutil.rmtree(tmp_path / "trunk" / str(max(steps)))
    same(train(runs, dataset, tmp_path, DEFAULT), kept[1])


def test_a_state_that_a_kill_kept_from_being_kept_is_kept_when_it_goes_on(
    runs: list[RunConfig], dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(Stopped):
        train(runs, dataset, tmp_path, KEEPING, stop_after=9)
    assert steps_in(tmp_path / "trunk") == {5, 10}
    shutil.rmtree(tmp_path / "kept" / "10")
    train(runs, dataset, tmp_path, KEEPING)
    assert steps_in(tmp_path / "kept") == TRUNK_STEPS


def test_a_kept_state_that_is_damaged_is_written_anew_where_training_passes_it(
    runs: list[RunConfig], dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(Stopped):
        train(runs, dataset, tmp_path, KEEPING, stop_after=4)
    shutil.rmtree(tmp_path / "trunk")
    state = tmp_path / "kept" / "5"
    (state / "default" / "_METADATA").write_bytes(b"")
    with pytest.raises(Stopped):
        train(runs, dataset, tmp_path, KEEPING, stop_after=6)
    assert find_damage(state) is None


def test_clearing_leaves_kept_states_alone(tmp_path: Path) -> None:
    for name in ("plain/state", "other/state", "other/kept/5"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "other" / "course-3.json").write_text("")
    for name in ("plain", "other"):
        clear(tmp_path / name)
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "other",
        "other/kept",
        "other/kept/5",
    ]


def test_the_page_reads_a_kept_state_by_orbax_alone(kept: tuple[Path, list[PretrainResult]]) -> None:
    section = PAGE.read_text().split("## Checkpoints")[1]
    [example] = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert len(list(filter(None, example.splitlines()))) <= 6
    place = kept[0] / "kept" / "10" / "default"
    named = re.sub(r'"results/[^"]*"', repr(str(place)), example)
    assert named != example
    alone = "import sys; assert not any(name.startswith('lora_jax') for name in sys.modules)\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{named}\n{alone}print(int(tree['state']['.step']), tree['losses'].shape)"],
        capture_output=True,
        text=True,
        timeout=200,
        env=os.environ | {"PYTHONPATH": ""},
    )
    assert done.stdout.splitlines()[-1] == "10 (10,)", done.stderr


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "often", "nan", ""])
@pytest.mark.parametrize("option", ["--save-seconds", "--save-steps", "--save-kept", "--save-at"])
def test_a_number_that_cannot_be_is_one_sentence(option: str, text: str) -> None:
    parser = argparse.ArgumentParser()
    add_saving(parser)
    if (option, text) == ("--save-seconds", "1.5"):
        assert read_saving(parser.parse_args([option, text])) == Saving(every_seconds=1.5)
        return
    said = rf"^{option} is .*, but it must be .*: change it\.$"
    if (option, text) == ("--save-at", ""):
        said = "^--save-at got '', it wants values with commas between them"
    with pytest.raises(LoraJaxError, match=said) as caught:
        parser.parse_args([f"{option}={text}"])
    assert "\n" not in str(caught.value)


def test_the_options_say_what_they_are_asked() -> None:
    parser = argparse.ArgumentParser()
    add_saving(parser)
    assert read_saving(parser.parse_args([])) == DEFAULT
    words = ["--save-seconds", "5", "--save-steps", "100", "--save-kept", "3", "--save-at", "0.25, 0.5"]
    asked = Saving(every_seconds=5.0, every_steps=100, n_kept=3, fractions=(0.25, 0.5))
    assert read_saving(parser.parse_args(words)) == asked
    with pytest.raises(LoraJaxError, match=r"fractions.* is 1\.5, but it must be"):
        Saving(fractions=(0.5, 1.5))
