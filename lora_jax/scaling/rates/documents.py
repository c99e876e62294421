"""transfer.json: written and read here, and nowhere else."""

from lora_jax.scaling.answer_file import AnswerFile
from lora_jax.scaling.rates.results import FORMAT, KIND, TransferReport

TRANSFER = AnswerFile("transfer.json", TransferReport, KIND, FORMAT, "run `lora-jax transfer` again")
write_transfer, read_transfer = TRANSFER.write, TRANSFER.read
