"""A fine-tuning experiment: a config file whose `sweep()` returns a FinetuneSweep, or `study()` a study."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lora_jax.config import RunConfig
from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.config import FinetuneSweep
from lora_jax.finetuning.study import Arm, FinetuneStudy
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


@dataclass(frozen=True)
class StudyExperiment:
    """The study of a config file, with the question in its docstring."""

    name: str
    question: str
    study: FinetuneStudy


OF_BASES = "bases."  # opens an override of the bases that a study pretrains


def load_study(path: Path, overrides: Sequence[str] = ()) -> StudyExperiment:
    """Load configs/NAME.py; lay `field=value` over each of its arms, `bases.field=value` over its bases."""
    module, study = execute_config(path, "study", "a FinetuneStudy", "configs/finetune_laws.py")
    if not isinstance(study, FinetuneStudy):
        raise LoraJaxError(
            f"{path}: study() returned {type(study).__name__}, it must return a FinetuneStudy:"
            " see configs/finetune_laws.py."
        )
    of_bases = [text.removeprefix(OF_BASES) for text in overrides if text.startswith(OF_BASES)]
    of_arms = [text for text in overrides if not text.startswith(OF_BASES)]
    base_point, arm_point = parse_overrides(of_bases, RunConfig), parse_overrides(of_arms, Arm)
    bases = {
        label: overlay(base, base_point) if isinstance(base, RunConfig) else base
        for label, base in study.bases.items()
    }
    arms = tuple(overlay(arm, arm_point) for arm in study.arms)
    return StudyExperiment(path.stem, question_of(module), replace(study, bases=bases, arms=arms))
