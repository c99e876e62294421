"""Checkpoints of a leg of training, saved with orbax: the state and every loss so far."""

import errno
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lora_jax.train.step import TrainState

SLACK_BYTES = 2**20  # a checkpoint's own description and the file system's blocks


class Checkpoints:
    """The newest checkpoint of one leg (a trunk, or a branch's cooldown) in one folder.

    orbax writes to a temporary folder and renames it, so that a kill in the middle leaves the one before.
    """

    def __init__(self, folder: Path) -> None:
        import orbax.checkpoint as ocp

        self.folder = folder.resolve()
        self._args = ocp.args
        options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def save(self, state: TrainState, losses: np.ndarray) -> None:
        """Save after state.step steps; losses (state.step,) are those of all steps from the first.

        Raises OSError where the folder cannot be written, such as on a full disk.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        tree = {"state": _flatten(state), "losses": np.asarray(losses, np.float32)}
        self._require_space(sum(array.nbytes for array in jax.tree.leaves(tree)))
        try:
            with _quiet_threads():
                self._manager.save(step, args=self._args.StandardSave(tree))
        except ValueError as error:
            # tensorstore, which writes for orbax, tells a full disk in words alone.
            code = re.search(r"os_error_code='(\d+)'", str(error))
            if code is None:
                raise
            raise OSError(int(code[1]), os.strerror(int(code[1])), str(self.folder)) from error

    def _require_space(self, n_bytes: int) -> None:
        """Raise OSError before orbax begins what cannot end: its threads leave stack traces when full."""
        if shutil.disk_usage(self.folder).free < n_bytes + SLACK_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder))

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def restore(self, like: TrainState) -> tuple[TrainState, np.ndarray]:
        """Return the newest (state, losses); `like` gives the structure."""
        step = self._manager.latest_step()
        target = {
            "state": _abstract(like),
            "losses": jax.ShapeDtypeStruct((step,), np.float32),
        }
        tree = self._manager.restore(step, args=self._args.StandardRestore(target))
        return _unflatten(like, tree["state"]), np.asarray(tree["losses"])

    def close(self) -> None:
        self._manager.close()

    def delete(self) -> None:
        self.close()
        shutil.rmtree(self.folder)


@contextmanager
def _quiet_threads() -> Iterator[None]:
    """Keep orbax's threads from logging the stack traces of failures that it raises as well."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _flatten(state: TrainState) -> dict[str, Any]:
    leaves, _ = jax.tree.flatten_with_path(state)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _abstract(state: TrainState) -> dict[str, Any]:
    return {
        path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
        for path, leaf in _flatten(state).items()
    }


def _unflatten(like: TrainState, tree: dict[str, Any]) -> TrainState:
    leaves, structure = jax.tree.flatten_with_path(like)
    return jax.tree.unflatten(structure, [tree[jax.tree_util.keystr(path)] for path, _ in leaves])
