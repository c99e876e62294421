"""Who watches a sweep while it trains: the live files, the bar and the tracker, in this order."""

from pathlib import Path

from lora_jax.runs.machine import find_peak_flops
from lora_jax.runs.progress import Progress
from lora_jax.runs.sinks.live_file import LiveFiles
from lora_jax.runs.sinks.together import Together
from lora_jax.runs.tracker import Tracker
from lora_jax.training.rows import Watching


def watch_with(folder: Path, progress: Progress, tracker: Tracker) -> Watching:
    """Return how a sweep in a results folder is watched.

    The live files come first, because the tracker reads the beginning of a branch from them.
    """
    sinks = Together([LiveFiles(folder), progress, tracker], progress.say)
    return Watching(sink=sinks, peak_flops=find_peak_flops())
