"""XSum (arXiv 1808.08745): a news article, and one sentence that says what it is about."""

from lora_jax.data.tasks.benchmark import NOTE, hold_aside, read_benchmark
from lora_jax.data.tasks.place import find_folder
from lora_jax.data.tasks.task import Source

TEMPLATE = "{document}\nTL;DR:"  # GPT-2's prompt for summaries


def read_xsum() -> Source:
    """Read xsum.jsonl in BIG-bench's form."""
    path = find_folder("xsum", "tfds:xsum") / "xsum.jsonl"
    splits = hold_aside(read_benchmark(path, ("document",), "summary"), "document")
    return Source("xsum", "generation", (), splits, "document", template=TEMPLATE, notes=(NOTE,))
