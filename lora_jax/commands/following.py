"""What the further processes of a sweep over several machines do: they train as the first one says."""

from typing import TYPE_CHECKING

from lora_jax.commands.sweep_options import SweepOptions, make_settings
from lora_jax.commands.training import until_stopped
from lora_jax.errors import LoraJaxError

if TYPE_CHECKING:
    from lora_jax.runs.experiment import Experiment
    from lora_jax.runs.store import RunStore


def follow(experiment: "Experiment", store: "RunStore", options: SweepOptions) -> int:
    """Train beside the first process of the computation, until it ends.

    The first one alone joins the folder's workers, writes records and tells how far they are.

    Raises:
        LeaderEnded: It has ended.
        LoraJaxError: It runs other code, or another sweep.
    """
    from lora_jax.config import run_id
    from lora_jax.runs.execute import follow_sweep, prepare_alone, use_compilation_cache
    from lora_jax.training.checkpoint import say_nothing
    from lora_jax.training.processes import hear

    runs = {run_id(run): run for run in experiment.runs}
    # A signal comes to all processes. The first one says when training stops.
    with until_stopped():
        if hear() != describe(list(runs)):
            raise LoraJaxError(
                "The first process of this computation has other code (lora_jax, jax or numpy) or"
                " another config than this one: start all processes with one command, from one"
                " installation."
            )
        use_compilation_cache()
        settings = make_settings(options)
        datasets = prepare_alone(store, experiment.runs, say_nothing)
        follow_sweep(runs, datasets, store, settings)
    return hear()  # whose only word is now its end


def describe(run_ids: list[str]) -> list[str]:
    """Return what all processes of a computation must have in common."""
    from lora_jax.workers.crew import code_digest

    return [code_digest(), *run_ids]
