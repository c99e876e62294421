"""A fine-tuning experiment: a config file whose `sweep()` returns a FinetuneSweep."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.config import FinetuneSweep
from lora_jax.runs.experiment import execute_config, question_of
from lora_jax.runs.sweep import overlay, parse_overrides


@dataclass(frozen=True)
class FinetuneExperiment:
    """The sweep of a config file, with the question in its docstring."""

    name: str
    question: str
    sweep: FinetuneSweep


def load_finetuning(
    path: Path, overrides: Sequence[str] = (), labels: Sequence[str] = ()
) -> FinetuneExperiment:
    """Load configs/NAME.py, lay `field=value` overrides over its sweep; labels: keep these methods alone."""
    module, sweep = execute_config(path, "sweep", "a FinetuneSweep", "configs/peft_sst2.py")
    if not isinstance(sweep, FinetuneSweep):
        raise LoraJaxError(
            f"{path}: sweep() returned {type(sweep).__name__}, it must return a FinetuneSweep:"
            " see configs/peft_sst2.py."
        )
    sweep = overlay(sweep, parse_overrides(overrides, FinetuneSweep))
    if labels:
        sweep = sweep.only(labels)
    return FinetuneExperiment(path.stem, question_of(module), sweep)
