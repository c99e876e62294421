"""`lora_jax.train`: a pretraining sweep from a notebook, in a results folder like that of the command."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from lora_jax.commands.scaling import SweepOptions, conclude, is_concluded
from lora_jax.commands.scaling import train as train_sweep
from lora_jax.commands.training import Origin, say
from lora_jax.config import RunConfig, digest, run_id
from lora_jax.errors import LoraJaxError
from lora_jax.notebook.fitting import as_table
from lora_jax.runs.experiment import Experiment
from lora_jax.runs.record import RunRecord
from lora_jax.runs.store import RunStore
from lora_jax.scaling.documents import read_fits
from lora_jax.scaling.sweep_results import SweepReport
from lora_jax.scaling.tables.table import RunTable
from lora_jax.training.measuring import DEFAULT as EIGHT_POINTS
from lora_jax.training.measuring import Measuring
from lora_jax.training.saving import DEFAULT, Saving
from lora_jax.workers.crew import Joining


@dataclass(frozen=True)
class TrainedSweep:
    """A results folder of finished runs. A notebook shows its fits.

    Attributes:
        folder: The folder. `lora-jax fit` and `lora-jax report` read it too.
        records: One record for each run, in the order in which you asked for the runs.
    """

    folder: Path
    records: tuple[RunRecord, ...]

    @cached_property
    def table(self) -> RunTable:
        """The runs as a table, for `lora_jax.fit` and `lora_jax.compare`."""
        return as_table(self.folder)

    @cached_property
    def fits(self) -> SweepReport:
        """L(N), L(D), L(C) and L(N,D), as far as the runs allow them."""
        return read_fits(self.folder / "fits.json")

    @property
    def page(self) -> Path:
        """The report. It is one file that you can open in a browser."""
        return self.folder / "report.html"

    def __repr__(self) -> str:
        return f"TrainedSweep({len(self.records)} runs in {self.folder})"

    def _repr_html_(self) -> str:
        from lora_jax.notebook.showing import show
        from lora_jax.report.sweep.rows import exponent_rows

        return show(None, [f"{len(self.records)} runs in {self.folder}"], [exponent_rows(self.fits)])


def train(
    runs: RunConfig | Iterable[RunConfig],
    folder: str | Path,
    *,
    lanes: int | None = 1,
    halving: bool = False,
    tracker: Literal["off", "wandb", "trackio"] = "off",
    keep_models: bool = False,
    saving: Saving = DEFAULT,
    measuring: Measuring = EIGHT_POINTS,
) -> TrainedSweep:
    """Train runs, fit the laws that they allow, and write the report.

    A run that the folder already holds is not trained again. If a call was interrupted, the next one
    continues where it stopped.

    Args:
        runs: The configurations, for example from `lora_jax.runs.sweep.expand`.
        folder: The results folder. It is made if it does not exist.
        lanes: How many runs of one shape may train side by side in one program. None measures which number is
            fastest.
        halving: Whether to stop the worse half of runs that differ only in the learning rate, after a quarter
            and after half of the steps.
        tracker: "off", "wandb", or "trackio", whose dashboard needs no account.
        keep_models: Whether to write the trained models as Hugging Face folders, FOLDER/models/.
        saving: How often the state of a run is saved, and which states are kept.
        measuring: At which steps the held-out loss is measured during training.

    Returns:
        The records, the table and the fits.

    Raises:
        LoraJaxError: A run cannot be trained as it is, or the folder holds other runs.
        KeyboardInterrupt: It was interrupted. Every finished run is kept.
    """
    wanted = [runs] if isinstance(runs, RunConfig) else list(runs)
    wrong = [run for run in wanted if not isinstance(run, RunConfig)]  # pyright: ignore[reportUnnecessaryIsInstance]
    if wrong or not wanted:
        got = f"{type(wrong[0]).__name__} as a run" if wrong else "no runs"
        raise LoraJaxError(f"lora_jax.train got {got}: give it at least one RunConfig.")
    folder, by_id = Path(folder), {run_id(run): run for run in wanted}
    experiment = Experiment(folder.resolve().name, "", tuple(by_id.values()))
    options = SweepOptions(
        tracker=tracker,
        lanes=lanes,
        halving=halving,
        keep_models=keep_models,
        saving=saving,
        measuring=measuring,
        origin=Origin(f"lora_jax.train(runs, {str(folder)!r})"),
    )
    store = RunStore(folder)
    store.check(experiment.name, list(by_id))
    with store.joined(Joining(digest([*by_id, halving, keep_models])), say):
        status = train_sweep(experiment, store, options)
    if status:
        raise KeyboardInterrupt(f"Stopped. Every finished run is kept in {folder}; call it again to go on.")
    if not is_concluded(experiment, store, halving):
        conclude(experiment, store, options)
    records = store.finished()
    return TrainedSweep(folder, tuple(records[name] for name in by_id if name in records))
