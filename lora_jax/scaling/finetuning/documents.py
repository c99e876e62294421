"""finetuning.json: written and read here, and nowhere else."""

from lora_jax.scaling.answer_file import AnswerFile
from lora_jax.scaling.finetuning.results import FORMAT, KIND, FinetuningReport

FINETUNING = AnswerFile(
    "finetuning.json", FinetuningReport, KIND, FORMAT, "run `lora-jax fit --by ... --crossover` again"
)
write_finetuning, read_finetuning = FINETUNING.write, FINETUNING.read
