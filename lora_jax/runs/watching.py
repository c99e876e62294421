"""Who watches a sweep while it trains: its live files, its state, the bar and the tracker, in this order."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from lora_jax.runs.machine import find_peak_flops
from lora_jax.runs.progress import Planned, Progress
from lora_jax.runs.sinks.live_file import LiveFiles
from lora_jax.runs.sinks.state_file import PlannedSteps, StateFile
from lora_jax.runs.sinks.together import Together
from lora_jax.runs.tracking import Tracking
from lora_jax.training.measuring import DEFAULT, Measuring
from lora_jax.training.rows import Watching


@contextmanager
def watched(
    folder: Path,
    planned: Sequence[Planned],
    progress: Progress,
    tracker: Tracking,
    measuring: Measuring = DEFAULT,
) -> Generator[Watching]:
    """Yield how a sweep in a results folder is watched during the block.

    The live files come first, because the tracker reads the beginning of a branch from them. If a sink cannot
    be written, a line says so and it is left out.
    """
    steps = [PlannedSteps(item.run_id, item.n_steps) for item in planned]
    state = StateFile(folder, steps, progress)
    sinks = Together([LiveFiles(folder), state, progress, tracker], progress.say)
    ended: Literal["finished", "stopped"] = "stopped"
    try:
        with progress.showing():
            yield Watching(sink=sinks, measuring=measuring, peak_flops=find_peak_flops())
        ended = "finished"
    finally:
        sinks.attempt(state, lambda sink: sink.close(ended))
