"""A trial on disk that is damaged anywhere: the one before it is gone on from, or the run starts again."""

import shutil
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from lora_jax.finetuning.config import FinetuneConfig, TuneConfig
from lora_jax.finetuning.group import TuneRun
from lora_jax.finetuning.loop import FinetuneResult, finetune_group
from lora_jax.finetuning.prepare import Prepared
from lora_jax.peft.methods.lora import LoRA
from lora_jax.training import checkpoint
from lora_jax.training.saving import Saving
from lora_jax.training.side_by_side import Stopped

from .conftest import task_of


@pytest.fixture
def config(places: Path) -> FinetuneConfig:
    optim = TuneConfig(learning_rate=0.05, batch_size=16, epochs=4, evaluations=3)
    return FinetuneConfig(
        base=str(places / "models" / "encoder"),
        task=task_of(places, "words"),
        method=LoRA(rank=4, alpha=8.0, targets=("all",)),
        label="LoRA",
        optim=optim,
    )


def train(run: TuneRun, stop_after: int | None = None) -> FinetuneResult:
    calls = iter(range(10**9))
    (result,) = finetune_group([run], lambda: stop_after is not None and next(calls) >= stop_after)
    return result


def same(one: FinetuneResult, other: FinetuneResult) -> None:
    assert one.losses.tobytes() == other.losses.tobytes()
    assert (one.kept_step, one.tokens.tolist()) == (other.kept_step, other.tokens.tolist())
    assert (one.dev, one.test) == (other.dev, other.test)


def spoil(path: Path, damage: str) -> None:
    content = path.read_bytes()
    if damage == "removed":
        path.unlink()
        return
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 0x41]) + content[middle + 1 :]
    path.write_bytes({"emptied": b"", "truncated": content[:middle], "flipped": flipped}[damage])


@pytest.mark.slow
def test_whatever_file_is_damaged_the_run_ends_at_the_same_bits(
    config: FinetuneConfig, classify: Prepared, tmp_path: Path
) -> None:
    """Stopped after the first score, with a checkpoint before it: 8 steps to a score, a turn in two parts."""
    often = Saving(every_seconds=1e-9)
    whole = train(TuneRun(config, classify, tmp_path / "whole"))
    kept = tmp_path / "kept"
    with pytest.raises(Stopped):
        train(TuneRun(config, classify, kept, saving=often), stop_after=12)
    names = [path.name for path in kept.iterdir() if path.is_file()]
    assert sum(name.startswith("course-") for name in names) == 2
    assert "kept-8.safetensors" in names
    newest = f"course-{max(int(name[7:-5]) for name in names if name.startswith('course-'))}.json"
    arrays = max((kept / "state").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    victims = [
        *((newest, damage, 1) for damage in ("flipped", "emptied", "removed", "truncated")),
        *(("kept-8.safetensors", damage, 1) for damage in ("flipped", "removed")),
        (str(arrays.relative_to(kept)), "flipped", 1),
    ]
    for number, (name, damage, n_said) in enumerate(victims):
        folder, said = tmp_path / str(number), []
        shutil.copytree(kept, folder)
        spoil(folder / name, damage)
        same(train(TuneRun(config, classify, folder, said.append)), whole)
        assert len(said) >= n_said, f"{name} was {damage}"
        assert all("is damaged: that checkpoint is dropped" in line for line in said)


def test_a_kept_state_is_that_of_the_run_at_its_step(
    config: FinetuneConfig, classify: Prepared, tmp_path: Path
) -> None:
    """As another run of it saves that is stopped there; keeping changes no loss."""
    whole = train(TuneRun(config, classify, tmp_path / "whole"))
    at = round(0.4 * whole.planned_steps)
    keeping = Saving(every_steps=3, fractions=(0.4,))
    same(train(TuneRun(config, classify, tmp_path / "keeping", saving=keeping)), whole)
    with pytest.raises(Stopped):
        train(TuneRun(config, classify, tmp_path / "stopped"), stop_after=at - 1)
    assert [path.name for path in (tmp_path / "keeping" / "kept").iterdir()] == [str(at)]
    one, other = (
        ocp.StandardCheckpointer().restore(tmp_path / place / str(at) / "default")
        for place in ("keeping/kept", "stopped/state")
    )
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    "stop_after", [9, pytest.param(5, marks=pytest.mark.slow), pytest.param(12, marks=pytest.mark.slow)]
)
def test_a_state_that_is_written_while_training_goes_on_has_its_facts(
    config: FinetuneConfig,
    classify: Prepared,
    tmp_path: Path,
    stop_after: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoint, "BACKGROUND_BYTES", 0)
    whole, often = train(TuneRun(config, classify, tmp_path / "whole")), Saving(every_steps=1)
    with pytest.raises(Stopped):
        train(TuneRun(config, classify, tmp_path / "a", saving=often), stop_after)
    steps = {int(path.name) for path in (tmp_path / "a" / "state").iterdir() if path.name.isdecimal()}
    assert {int(path.stem[7:]) for path in (tmp_path / "a").glob("course-*.json")} == steps
    said: list[str] = []
    same(train(TuneRun(config, classify, tmp_path / "a", said.append, saving=often)), whole)
    assert said == []


def test_damaged_weights_that_were_kept_are_made_again(
    config: FinetuneConfig, classify: Prepared, tmp_path: Path
) -> None:
    """Nothing before it is saved, so the run starts again."""
    whole = train(TuneRun(config, classify, tmp_path / "whole"))
    with pytest.raises(Stopped):
        train(TuneRun(config, classify, tmp_path / "a"), stop_after=12)
    spoil(tmp_path / "a" / "kept-8.safetensors", "flipped")
    said: list[str] = []
    same(train(TuneRun(config, classify, tmp_path / "a", said.append)), whole)
    [line] = said
    assert line.endswith(
        "kept-8.safetensors is damaged: that checkpoint is dropped, and its run is trained again from"
        " its start"
    )


@pytest.mark.slow
def test_a_trial_of_an_older_version_is_gone_on_from(
    config: FinetuneConfig, classify: Prepared, tmp_path: Path
) -> None:
    import json

    whole = train(TuneRun(config, classify, tmp_path / "whole"))
    with pytest.raises(Stopped):
        train(TuneRun(config, classify, tmp_path / "a"), stop_after=12)
    for path in (tmp_path / "a").glob("course-*.json"):
        facts = json.loads(path.read_text())
        del facts["digest"]
        path.write_text(json.dumps(facts))
    for path in (tmp_path / "a").rglob("digests.json"):
        path.unlink()
    said: list[str] = []
    same(train(TuneRun(config, classify, tmp_path / "a", said.append)), whole)
    assert said == []
