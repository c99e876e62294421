"""ablation.json: written and read here, and nowhere else."""

from lora_jax.scaling.answer_file import AnswerFile
from lora_jax.scaling.recipes.results import FORMAT, KIND, AblationReport

ABLATION = AnswerFile("ablation.json", AblationReport, KIND, FORMAT, "run `lora-jax ablation` again")
write_ablation, read_ablation = ABLATION.write, ABLATION.read
