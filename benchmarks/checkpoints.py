"""How long saving a large state holds training up, and how long it takes until the state is on the disk."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.figures import Figure, Row, Section
from lora_jax.timing import Say
from lora_jax.training.checkpoint import Checkpoints
from lora_jax.training.step import TrainState

MEGABYTES = (100, 400)
HELD_AT_MOST = 0.2  # of the time until it is on the disk
N_ARRAYS = 10  # weights; there are two moments of each


def measure_checkpoints(repeats: int, say: Say, megabytes: Sequence[float] = MEGABYTES) -> Section:
    """Save states of these sizes, again and again."""
    rows = []
    for size in megabytes:
        say(f"checkpoints: {repeats} savings of {size:g} MB")
        held, written = zip(*_save(size, repeats), strict=True)
        shares = tuple(one / other for one, other in zip(held, written, strict=True))
        figures = (
            Figure("training held up", "ms", tuple(1e3 * seconds for seconds in held)),
            Figure("until it is on the disk", "ms", tuple(1e3 * seconds for seconds in written)),
            Figure("held up / until on the disk", "", shares, HELD_AT_MOST),
        )
        rows.append(Row(f"{size:g} MB", {"n_arrays": 3 * N_ARRAYS}, figures))
    return Section("checkpoints", "Saving a state while training goes on", tuple(rows))


def _save(megabytes: float, repeats: int) -> list[tuple[float, float]]:
    """Return the seconds that each saving held the caller up, and those until it was on the disk."""
    state, found = _make_state(megabytes), []
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder) / "states")
        for step in range(1, repeats + 2):
            started = time.perf_counter()
            own = TrainState(jnp.asarray(step), state.trainable, state.opt_state)
            checkpoints.save(jax.tree.map(jnp.copy, own), np.zeros(step))  # as a lane's state is read
            held = time.perf_counter() - started
            checkpoints.wait()
            found.append((held, time.perf_counter() - started))
        checkpoints.close()
    return found[1:]


def _make_state(megabytes: float) -> TrainState:
    size = int(megabytes * 1e6 / 4 / (3 * N_ARRAYS))
    weights = {f"w{i}": jax.random.normal(jax.random.key(i), (size,)) for i in range(N_ARRAYS)}
    moments = {f"m{i}": jax.random.normal(jax.random.key(i), (size,)) for i in range(2 * N_ARRAYS)}
    return jax.block_until_ready(TrainState(jnp.asarray(0), weights, moments))
