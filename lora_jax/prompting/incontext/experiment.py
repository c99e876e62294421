"""An in-context experiment: a config file whose `comparison()` returns an InContextConfig."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.prompting.incontext.config import InContextConfig
from lora_jax.runs.experiment import execute_config, question_of

EXAMPLE = "configs/incontext.py"
STAGES = ("prompts", "tuning", "backward")


@dataclass(frozen=True)
class InContextExperiment:
    """The comparison of a config file.

    Attributes:
        name: Name of the file, without its suffix.
        question: Its docstring.
        config: The comparison.
    """

    name: str
    question: str
    config: InContextConfig


def load_incontext(path: Path) -> InContextExperiment:
    """Load configs/NAME.py.

    Raises:
        LoraJaxError: The file is no config of a comparison.
    """
    module, config = execute_config(path, "comparison", "an InContextConfig", EXAMPLE)
    if not isinstance(config, InContextConfig):
        raise LoraJaxError(
            f"{path}: comparison() returned {type(config).__name__}, but it must return an InContextConfig:"
            f" see {EXAMPLE}."
        )
    return InContextExperiment(path.stem, question_of(module), config)


def keep(config: InContextConfig, tasks: Sequence[str], stages: Sequence[str]) -> InContextConfig:
    """Return a part of the comparison: the named tasks and stages. If none is named, all stay.

    Raises:
        LoraJaxError: A name is unknown.
    """
    for stage in stages:
        if stage not in STAGES:
            raise LoraJaxError(f"--stage is {stage!r}{nearest(stage, STAGES)}.")
    found = config.only(tuple(tasks)) if tasks else config
    if not stages:
        return found
    return replace(
        found,
        shots=found.shots if "prompts" in stages else (),
        tunings=found.tunings if "tuning" in stages else (),
        backward=found.backward if "backward" in stages else None,
    )
