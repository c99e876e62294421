"""A run's course on disk while it trains: a later call goes on from it to the same bits."""

import json
from pathlib import Path

import numpy as np

from lora_jax.files import write_atomically
from lora_jax.finetune.course import Course
from lora_jax.params import Params
from lora_jax.peft.checkpoint import load_adapter, save_adapter
from lora_jax.peft.method import MethodConfig
from lora_jax.train.checkpoint import Checkpoints


class SavedCourse:
    """The folder of one run: the state by orbax; losses, best weights and their step beside it, by step."""

    def __init__(self, folder: Path, config: MethodConfig) -> None:
        self.folder, self._config = folder, config
        self._checkpoints = Checkpoints(folder / "state")

    def save(self, course: Course) -> None:
        """Save after the steps that `course` has; the state last, so that what belongs to it is there."""
        step = len(course.losses)
        if course.kept is not None:
            kept = self.folder / f"kept-{course.kept_step}.safetensors"
            if not kept.exists():
                save_adapter(kept, course.kept, self._config, "")
        facts = {"tokens": course.tokens, "kept_step": course.kept_step, "worse": course.worse}
        write_atomically(self.folder / f"course-{step}.json", json.dumps(facts))
        self._checkpoints.save(course.state, np.asarray(course.losses))
        for path in self.folder.glob("course-*.json"):
            if path.name != f"course-{step}.json":
                path.unlink()
        for path in self.folder.glob("kept-*.safetensors"):
            if path.name != f"kept-{course.kept_step}.safetensors":
                path.unlink()

    def restore(self, course: Course) -> Params | None:
        """Bring a fresh course to where the folder's is; return the best weights so far, if there are any."""
        step = self._checkpoints.latest_step()
        if step is None:
            return None
        facts = json.loads((self.folder / f"course-{step}.json").read_text())
        course.state, losses = self._checkpoints.restore(course.state)
        course.losses, course.tokens = [float(loss) for loss in losses], facts["tokens"]
        course.kept_step, course.worse = facts["kept_step"], facts["worse"]
        if course.kept_step == 0:
            return None
        return load_adapter(self.folder / f"kept-{course.kept_step}.safetensors", "")[1]

    def close(self) -> None:
        """Let go of the folder, which may then be removed."""
        self._checkpoints.close()
