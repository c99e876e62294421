"""A fine-tuning experiment: a config file with a function `sweep()` or `study()`.

`sweep()` returns a FinetuneSweep. `study()` returns a FinetuneStudy.
"""

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
    """The sweep of a config file.

    Attributes:
        name: The file's name without its ending.
        question: The file's docstring.
        sweep: What `sweep()` returned, with overrides.
    """

    name: str
    question: str
    sweep: FinetuneSweep


def load_finetuning(
    path: Path, overrides: Sequence[str] = (), labels: Sequence[str] = ()
) -> FinetuneExperiment:
    """Load the sweep of a config file.

    Args:
        path: The file, such as configs/peft_sst2.py.
        overrides: `field=value` of the sweep.
        labels: Keep only these methods. None of them keeps all.

    Raises:
        LoraJaxError: The file returns no sweep, or an override or label does not fit it.
    """
    module, sweep = execute_config(path, "sweep", "a FinetuneSweep", "configs/peft_sst2.py")
    if not isinstance(sweep, FinetuneSweep):
        raise LoraJaxError(
            f"{path}: sweep() returned {type(sweep).__name__}, but it must return a FinetuneSweep:"
            " see configs/peft_sst2.py."
        )
    sweep = overlay(sweep, parse_overrides(overrides, FinetuneSweep))
    if labels:
        sweep = sweep.only(labels)
    return FinetuneExperiment(path.stem, question_of(module), sweep)


@dataclass(frozen=True)
class StudyExperiment:
    """The study of a config file.

    Attributes:
        name: The file's name without its ending.
        question: The file's docstring.
        study: What `study()` returned, with overrides.
    """

    name: str
    question: str
    study: FinetuneStudy


OF_BASES = "bases."  # an override of the bases that a study pretrains begins with this


def load_study(path: Path, overrides: Sequence[str] = ()) -> StudyExperiment:
    """Load the study of a config file.

    Args:
        path: The file, such as configs/finetune_laws.py.
        overrides: `field=value` changes each of the arms. `bases.field=value` changes each base that is
            pretrained.

    Raises:
        LoraJaxError: The file returns no study, or an override does not fit it.
    """
    module, study = execute_config(path, "study", "a FinetuneStudy", "configs/finetune_laws.py")
    if not isinstance(study, FinetuneStudy):
        raise LoraJaxError(
            f"{path}: study() returned {type(study).__name__}, but it must return a FinetuneStudy:"
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
