"""Where a sweep is tracked: what every tracker accepts, and how one is opened by its name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from lora_jax.runs.record import RunRecord
from lora_jax.runs.tracker import Tracker, read_mode
from lora_jax.runs.trackio_tracker import TrackioTracker
from lora_jax.training.rows import Sink

TrackerName = Literal["wandb", "trackio", "off"]


class Tracking(Sink, Protocol):
    """A sink of rows that also takes what is known before and after training. It never stops a sweep."""

    @property
    def mode(self) -> str:
        """How it tracks at this moment. "off" if it does not."""
        ...

    @property
    def notes(self) -> list[str]:
        """Every line that it has said."""
        ...

    def announce(self, configs: Mapping[str, Mapping[str, Any]]) -> None:
        """Take what is known of each run before it begins.

        Args:
            configs: By run_id, the config to show.
        """
        ...

    def log_run(self, record: RunRecord, curve: list[dict[str, Any]]) -> None:
        """End one training run. If its rows were not sent as they came, it is written whole.

        Args:
            record: The record.
            curve: The rows of curves/RUN_ID.csv (step, n_tokens, flops, loss, learning_rate).
        """
        ...

    def log_fits(self, fits: dict[str, Any], figures: list[Path]) -> None:
        """Write one run that holds the fits as tables, and the PNG figures.

        Args:
            fits: The content of fits.json.
            figures: The figures.
        """
        ...

    def log_comparison(
        self, facts: dict[str, str], columns: list[str | int], rows: list[list[Any]], figures: list[Path]
    ) -> None:
        """Write one run that holds the methods of a comparison as a table, and the PNG figures.

        Args:
            facts: The config of the run.
            columns: Columns of the table.
            rows: Rows of the table, one for each method.
            figures: The figures.
        """
        ...

    def finish(self) -> None:
        """Close open runs, so that a later call can continue them, and say where to look."""
        ...


def open_tracker(
    name: TrackerName, sweep: str, folder: Path, say: Callable[[str], None] | None = None
) -> Tracking:
    """Open a tracker for one sweep. Its files go to folder/wandb or folder/trackio.

    Args:
        name: "off" writes nothing. "wandb" follows the environment variable WANDB_MODE, and stays offline if
            it is unset. "trackio" never uses the network.
        sweep: Name of the sweep.
        folder: The results folder.
        say: Called with each note, one line. None prints to standard error.

    Raises:
        LoraJaxError: WANDB_MODE has an unknown value. Any other failure is only a note.
    """
    if name == "trackio":
        trackio = TrackioTracker(sweep, folder, say)
        trackio.prepare()
        return trackio
    tracker = Tracker(_read_mode(name), sweep, folder, say)
    tracker.prepare()
    return tracker


def check_tracker(name: TrackerName) -> None:
    """Raise the LoraJaxError that `open_tracker` would raise."""
    if name != "trackio":
        _read_mode(name)


def _read_mode(name: Literal["wandb", "off"]) -> Literal["online", "offline", "off"]:
    return "off" if name == "off" else read_mode()
