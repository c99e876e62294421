"""What a study of fine-tuning finds: laws, claims and forgetting of each task; finetune_laws.json."""

from dataclasses import dataclass
from typing import Literal

from lora_jax.scaling.answer_file import AnswerFile
from lora_jax.scaling.finetuning.claim_results import Claim
from lora_jax.scaling.finetuning.forgetting_results import Forgetting
from lora_jax.scaling.finetuning.results import FinetuningReport

KIND = "finetuning study"
FORMAT = 1


@dataclass(frozen=True)
class NoLaw:
    """A law that the runs do not carry, such as "finetuning-d", and why not."""

    law: str
    why: str


@dataclass(frozen=True)
class TaskResult:
    """One task of a study.

    Attributes:
        task: Its name.
        loss_unit: Unit of its loss.
        n_runs: Its finished runs.
        n_diverged: Its runs that diverged.
        laws: The laws that its runs carry: in N, and in D where bases of one N differ in it.
        missing: The laws that they do not carry.
        claims: What they say of the claims of "LoRA Without Regret".
        forgetting: What was forgotten. None where nobody measured it.
    """

    task: str
    loss_unit: str
    n_runs: int
    n_diverged: int
    laws: tuple[FinetuningReport, ...]
    missing: tuple[NoLaw, ...]
    claims: tuple[Claim, ...]
    forgetting: Forgetting | None


@dataclass(frozen=True)
class StudyReport:
    """A study of fine-tuning: finetune_laws.json.

    Attributes:
        source: The results folder.
        command: The command that made it.
        tasks: Text first.
    """

    source: str
    command: str
    n_runs: int
    tasks: tuple[TaskResult, ...]
    kind: Literal["finetuning study"]
    format: int


STUDY = AnswerFile("finetune_laws.json", StudyReport, KIND, FORMAT, "run `lora-jax fit` on the folder again")
write_study, read_study_report = STUDY.write, STUDY.read
