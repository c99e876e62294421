"""A fine-tuning run on disk while it trains. A later call continues from it, to the same bits."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from lora_jax.digests import read_object, to_sealed_json
from lora_jax.errors import LoraJaxError
from lora_jax.files import write_atomically
from lora_jax.finetuning.group import TuneRun
from lora_jax.finetuning.history import History
from lora_jax.peft.checkpoint import load_adapter, save_adapter
from lora_jax.training.checkpoint import Checkpoints
from lora_jax.training.saving import KEPT, KeptStates
from lora_jax.training.step import TrainState

FACTS = ("tokens", "kept_step", "worse", "n_rungs", "halted_at")  # fields of a History that a file keeps
NEWER = ("dev_curve",)  # version 0.2 did not save it, so such a curve begins where the run continues


class SavedTrial:
    """The folder of one run. orbax writes the state. Other files keep losses, best weights and their step.

    It holds the run as it would be alone, with its own rank. So another call may group runs differently.
    """

    def __init__(self, run: TuneRun, n_steps: int) -> None:
        self.folder, self._config, self._guard = run.folder, run.config.method, run.guard
        kept = KeptStates(run.folder / KEPT, run.saving.steps_kept(n_steps))
        self.kept_steps = kept.steps
        self._checkpoints = Checkpoints(run.folder / "state", run.say, run.saving, kept)

    def save(self, history: History, state: TrainState) -> None:
        """Save the run after the steps that `history` has.

        The state comes last, when its other files are there.

        Raises:
            OSError: As `Checkpoints.save`.
            LoraJaxError: Another worker has the run now.
        """
        self._guard()
        self._checkpoints.wait()  # otherwise the state before, once written, would remove the new files
        step = len(history.losses)
        if history.kept is not None and not self._kept(history.kept_step).exists():
            save_adapter(self._kept(history.kept_step), history.kept, self._config, "")
        facts = {name: getattr(history, name) for name in (*FACTS, *NEWER)}
        write_atomically(self._facts_path(step), to_sealed_json(facts))
        self._checkpoints.save(state, np.asarray(history.losses), then=self._tidy)

    def restore(self, history: History, like: TrainState) -> TrainState | None:
        """Fill a fresh history from the folder, and return the state. None if nothing is saved.

        If a part of a checkpoint is damaged, it is dropped and the one before is taken. The dev score of the
        best weights is not saved. The caller measures it again.

        Args:
            history: A fresh history, which is changed.
            like: A state with the same structure.
        """
        for step in self._checkpoints.steps():
            path = self._facts_path(step)
            try:
                facts = self._read_facts(path)
                if facts["kept_step"]:
                    path = self._kept(facts["kept_step"])
                    history.kept = load_adapter(path, "")[1]
            except LoraJaxError:
                path.unlink(missing_ok=True)  # it is written again when training comes there
                self._checkpoints.drop(step, path)
                continue
            state, losses = self._checkpoints.restore(like)
            history.losses = [float(loss) for loss in losses]
            for name, value in facts.items():
                setattr(history, name, value)
            return state
        history.kept = None
        return None

    def _facts_path(self, step: int) -> Path:
        return self.folder / f"course-{step}.json"

    def _kept(self, step: int) -> Path:
        return self.folder / f"kept-{step}.safetensors"

    def _read_facts(self, path: Path) -> dict[str, Any]:
        """Read the history's other fields. LoraJaxError if the file is damaged or missing."""
        facts = read_object(path, "delete it")
        if facts.keys() - set(NEWER) != set(FACTS):
            raise LoraJaxError(f"{path} holds {sorted(facts)}, but it must hold {sorted(FACTS)}: delete it.")
        return facts

    def _tidy(self) -> None:
        """Remove files that belong to no checkpoint which is still there."""
        wanted = set()
        for step in self._checkpoints.written_steps():
            with suppress(LoraJaxError):  # it is damaged, and is dropped when the folder is next opened
                wanted |= {
                    self._facts_path(step),
                    self._kept(self._read_facts(self._facts_path(step))["kept_step"]),
                }
        for path in (*self.folder.glob("course-*.json"), *self.folder.glob("kept-*.safetensors")):
            if path not in wanted:
                path.unlink()

    def close(self) -> None:
        """Release the folder, which may then be removed."""
        self._checkpoints.close()
