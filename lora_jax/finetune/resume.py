"""A run's course on disk while it trains: a later call goes on from it to the same bits."""

import json
from pathlib import Path

import numpy as np

from lora_jax.files import write_atomically
from lora_jax.finetune.history import History
from lora_jax.peft.checkpoint import load_adapter, save_adapter
from lora_jax.peft.method import MethodConfig
from lora_jax.train.checkpoint import Checkpoints
from lora_jax.train.step import TrainState


class SavedCourse:
    """The folder of one run: the state by orbax; losses, best weights and their step beside it, by step.

    It holds the run as it is by itself, of its own rank, so that another call may group runs differently.
    """

    def __init__(self, folder: Path, config: MethodConfig) -> None:
        self.folder, self._config = folder, config
        self._checkpoints = Checkpoints(folder / "state")

    def save(self, history: History, state: TrainState) -> None:
        """Save after the steps that `history` has; the state last, so that what belongs to it is there."""
        step = len(history.losses)
        if history.kept is not None:
            kept = self.folder / f"kept-{history.kept_step}.safetensors"
            if not kept.exists():
                save_adapter(kept, history.kept, self._config, "")
        names = ("tokens", "kept_step", "worse", "n_rungs", "halted_at")
        facts = {name: getattr(history, name) for name in names}
        write_atomically(self.folder / f"course-{step}.json", json.dumps(facts))
        self._checkpoints.save(state, np.asarray(history.losses))
        for path in self.folder.glob("course-*.json"):
            if path.name != f"course-{step}.json":
                path.unlink()
        for path in self.folder.glob("kept-*.safetensors"):
            if path.name != f"kept-{history.kept_step}.safetensors":
                path.unlink()

    def restore(self, history: History, like: TrainState) -> TrainState | None:
        """Bring a fresh history to where the folder's is; return the state there, None where there is none.

        The dev score of the best weights is not saved: it is measured again.
        """
        step = self._checkpoints.latest_step()
        if step is None:
            return None
        facts = json.loads((self.folder / f"course-{step}.json").read_text())
        state, losses = self._checkpoints.restore(like)
        history.losses = [float(loss) for loss in losses]
        for name, value in facts.items():
            setattr(history, name, value)
        if history.kept_step:
            history.kept = load_adapter(self.folder / f"kept-{history.kept_step}.safetensors", "")[1]
        return state

    def close(self) -> None:
        """Let go of the folder, which may then be removed."""
        self._checkpoints.close()
