"""The task that ships with lora_jax: sentences about films in SST-2's form, composed by a script."""

from pathlib import Path

from lora_jax.data.tasks.glue import read_sentiment
from lora_jax.data.tasks.task import Source

NAME = "sentiment-sample"
NOTE = (
    "sentiment-sample is synthetic and no benchmark: sentences composed by a script, that ship with lora_jax"
)


def read_sample() -> Source:
    """Return 480 training sentences, 120 dev and 240 test. No word of opinion is in two splits."""
    return read_sentiment(Path(__file__).parent / "sentiment_sample", NAME, NOTE)
