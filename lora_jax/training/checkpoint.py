"""Checkpoints of a trunk or a branch in training: the state and every loss so far, saved with orbax.

A large state is copied to the host, and a thread writes it while training continues. One thread writes all
large states of a process, one after another. Until a state is on the disk, the host holds it beside the one
in training.
"""

import errno
import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lora_jax.digests import find_damage, write_manifest
from lora_jax.errors import Damaged
from lora_jax.temporaries import held, temporary_beside
from lora_jax.training.processes import decide, is_alone
from lora_jax.training.quiet_threads import QUIET
from lora_jax.training.saving import DEFAULT, KEPT, KeptStates, Saving
from lora_jax.training.step import TrainState

SLACK_BYTES = 2**20  # a checkpoint's own description and the file system's blocks
# A state of at least so many bytes is written while training continues. A smaller one is on the disk when
# `save` returns. Writing it delays training by less than half a second (docs/watching-runs.md), once in 60.
BACKGROUND_BYTES = 64 * 2**20
_WRITER = ThreadPoolExecutor(1, "checkpoints")


def say_nothing(line: str) -> None:
    """Ignore a line."""


def do_nothing() -> None:
    """Do nothing after a state is written."""


class Checkpoints:
    """The newest checkpoints of a trunk, or of a branch's cooldown, in one folder.

    orbax writes to a temporary folder and renames it. So a kill in the middle leaves the checkpoint before.
    Each checkpoint then gets the digests of its files. If one is damaged later, a line says so (`say`) and it
    is dropped when the folder is opened. Training continues from the one before it, or from its start. Older
    versions wrote no digests. What they wrote is taken as it is, as far as orbax can read it.

    A large state may still be on its way to the disk when `save` returns. Every other method waits for it,
    and raises the OSError if it could not be written.

    Several processes of one computation read and write a state together, each its parts. The first one does
    everything else in the folder, while the others wait.
    """

    def __init__(
        self,
        folder: Path,
        say: Callable[[str], None] = say_nothing,
        saving: Saving = DEFAULT,
        kept: KeptStates | None = None,
    ) -> None:
        """Open a folder, and drop its damaged checkpoints.

        Args:
            folder: Where the checkpoints are.
            say: Called with a line if a damaged checkpoint is dropped.
            saving: How many checkpoints are kept.
            kept: The states that are kept for good, and where. None keeps none.
        """
        import orbax.checkpoint as ocp

        self.folder, self._say, self._kept = folder.resolve(), say, kept
        self._args = ocp.args
        decide(self._drop_damaged)
        options = ocp.CheckpointManagerOptions(max_to_keep=saving.n_kept, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(self.folder, options=options)
        self._pending: Future[None] | None = None

    def _drop_damaged(self) -> None:
        for step in _list_steps(self.folder):
            damaged = find_damage(self.folder / str(step))
            if damaged is not None:
                shutil.rmtree(self.folder / str(step))
                self._tell(damaged)

    def _tell(self, damaged: Path) -> None:
        left = _list_steps(self.folder)
        then = f"from step {max(left)}, the checkpoint before it" if left else "again from its start"
        self._say(f"{damaged} is damaged: that checkpoint is dropped, and its run is trained {then}")

    def drop(self, step: int, damaged: Path) -> None:
        """Remove a checkpoint because of a damaged file, and say so."""
        self.wait()
        self._manager.delete(step)
        self._tell(damaged)

    def wait(self) -> None:
        """Wait until everything that was saved is on the disk.

        Raises:
            OSError: It could not be written, for example because the disk is full. The checkpoint before is
                there.
        """
        pending = self._pending
        if pending is None:
            return
        try:
            pending.result()
        finally:
            if pending.done():  # an interrupt may have come before
                self._pending = None

    def save(self, state: TrainState, losses: np.ndarray, then: Callable[[], None] = do_nothing) -> None:
        """Save the state after `state.step` steps.

        The caller may continue with the state and donate it afterwards. A state of at least
        `BACKGROUND_BYTES` is copied to the host and written from there.

        Args:
            state: The state.
            losses: The losses of all steps from the first, (state.step,).
            then: Called when the state is on the disk, in the thread that wrote it.

        Raises:
            OSError: The folder cannot be written, for example because the disk is full. It may be the error
                of the save before this one.
        """
        self.wait()
        step = int(state.step)
        tree = {"state": _flatten(state), "losses": np.asarray(losses, np.float32)}
        n_bytes = sum(array.nbytes for array in jax.tree.leaves(tree))
        decide(partial(self._require_space, step, n_bytes))
        if n_bytes >= BACKGROUND_BYTES and is_alone():  # several processes write a state together
            self._pending = _WRITER.submit(partial(self._keep, step, _take_to_host(tree), then))
        else:
            self._keep(step, tree, then)

    def _keep(self, step: int, tree: dict[str, Any], then: Callable[[], None]) -> None:
        """Write a checkpoint unless it is there. Copy it if it is kept for good."""
        if step not in self.written_steps():
            self._write(step, tree)
        if self._kept is not None and step in self._kept.steps:
            decide(partial(_copy_whole, self.folder / str(step), self._kept.folder / str(step)))
        then()

    def _write(self, step: int, tree: dict[str, Any]) -> None:
        try:
            with QUIET.while_inside(stay_quiet=True):
                self._manager.save(step, args=self._args.StandardSave(tree))
        except ValueError as error:
            # orbax writes with tensorstore, which reports a full disk only in the words of its message.
            code = re.search(r"os_error_code='(\d+)'", str(error))
            if code is None:
                raise
            raise OSError(int(code[1]), os.strerror(int(code[1])), str(self.folder)) from error
        decide(partial(write_manifest, self.folder / str(step)))

    @property
    def kept_steps(self) -> frozenset[int]:
        """The steps after which the state is kept for good."""
        return frozenset() if self._kept is None else self._kept.steps

    def keep_newest(self) -> None:
        """Remove all checkpoints but the newest."""
        for step in self.steps()[1:]:
            self._manager.delete(step)

    def _require_space(self, step: int, n_bytes: int) -> None:
        """Raise OSError if the disk is too full. Otherwise orbax would fail midway and leave stack traces."""
        if (
            step not in self._manager.all_steps()
            and shutil.disk_usage(self.folder).free < n_bytes + SLACK_BYTES
        ):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder))

    def latest_step(self) -> int | None:
        """Return the step of the newest checkpoint. None if there is none."""
        self.wait()
        return decide(self._manager.latest_step)

    def steps(self) -> list[int]:
        """Return the steps of all checkpoints, the newest first."""
        self.wait()
        return self.written_steps()

    def written_steps(self) -> list[int]:
        """Return the same without waiting for a state that is being written. Use it in `then` of `save`."""
        return decide(lambda: sorted(self._manager.all_steps(), reverse=True))

    def restore(self, like: TrainState) -> tuple[TrainState, np.ndarray]:
        """Return the newest state and the losses up to it.

        Args:
            like: A state with the same structure.

        Raises:
            Damaged: orbax cannot read the checkpoint. Checkpoints with digests were checked before, so this
                one comes from an older version, which wrote none.
        """
        step = self.latest_step()
        assert step is not None, "there is a checkpoint"
        target = {
            "state": _abstract(like),
            "losses": jax.ShapeDtypeStruct((step,), np.float32),
        }
        try:
            with QUIET.while_inside():
                tree = self._manager.restore(step, args=self._args.StandardRestore(target))
        # orbax and tensorstore raise any of these: for broken JSON, a missing key or file, another shape or
        # type.
        except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            what = (" ".join(str(error).split()) or type(error).__name__)[:200]
            raise Damaged(
                f"The checkpoint {self.folder / str(step)} cannot be read ({what}): delete that folder,"
                " and its run is trained again from its start."
            ) from error
        return _unflatten(like, tree["state"]), np.asarray(tree["losses"])

    def close(self) -> None:
        """Release the folder and keep what was saved in it. It raises OSError as `wait` does."""
        try:
            self.wait()
        finally:
            self._manager.close()

    def delete(self) -> None:
        """Release the folder and remove it."""
        self.close()
        decide(partial(shutil.rmtree, self.folder))


def clear(folder: Path) -> None:
    """Remove the folder of a run that has ended, except for the states that are kept for good."""
    if not (folder / KEPT).is_dir():
        shutil.rmtree(folder)
        return
    for path in folder.iterdir():
        if path.is_dir() and path.name != KEPT:
            shutil.rmtree(path)
        elif not path.is_dir():
            path.unlink()


def _copy_whole(checkpoint: Path, target: Path) -> None:
    """Copy a checkpoint with its digests, unless a whole copy is there.

    A kill leaves the whole copy or nothing. It raises OSError if the copy cannot be written, for example on a
    full disk.
    """
    if target.is_dir():
        if find_damage(target) is None:
            return
        shutil.rmtree(target)  # it is damaged, so we copy it again
    temporary = temporary_beside(target)
    temporary.mkdir(parents=True)
    with held(temporary):
        try:
            for path in sorted(checkpoint.rglob("*")):  # a folder before what is in it
                copy = temporary / path.relative_to(checkpoint)
                copy.mkdir() if path.is_dir() else shutil.copyfile(path, copy)
            temporary.replace(target)
        except BaseException:
            shutil.rmtree(temporary)
            raise


def _list_steps(folder: Path) -> list[int]:
    """Return the steps of a folder's checkpoints. Those that orbax did not finish have other names."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.is_dir())


def _take_to_host(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the arrays in the memory of the host. No later step changes them and no device has to hold them.

    On a CPU they share the device's memory. JAX does not donate an array that numpy refers to. It copies it
    for the step.
    """
    for leaf in jax.tree.leaves(tree):
        if isinstance(leaf, jax.Array):
            leaf.copy_to_host_async()
    return jax.tree.map(np.asarray, tree)


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
