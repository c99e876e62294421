"""Questions whose answer is a span of a text: Disfl-QA (arXiv 2106.04016), with SQuAD's prompt."""

from lora_jax.data.tasks.benchmark import NOTE, hold_aside, read_benchmark
from lora_jax.data.tasks.place import find_folder
from lora_jax.data.tasks.task import Source

TEMPLATE = "{context}\nQ: {question}\nA:"  # GPT-2's prompt for reading comprehension


def read_qa() -> Source:
    """Read disfl_qa.jsonl in BIG-bench's form: SQuAD's questions, with a speaker's self-corrections."""
    path = find_folder("qa", "tfds:squad") / "disfl_qa.jsonl"
    rows = read_benchmark(path, ("question", "context"), "answer")
    splits = hold_aside(rows, "context")
    return Source("qa", "generation", (), splits, "question", template=TEMPLATE, notes=(NOTE,))
