"""The task that ships: sentences about films in SST-2's form, composed by a script beside them."""

from pathlib import Path

from lora_jax.data.tasks.glue import read_sentiment
from lora_jax.data.tasks.task import Source

NAME = "sentiment-sample"
NOTE = (
    "sentiment-sample is synthetic and no benchmark: sentences composed by a script, that ship with lora_jax"
)


def read_sample() -> Source:
    """480 sentences to train on, 120 dev, 240 test, whose words of opinion are in no other split."""
    return read_sentiment(Path(__file__).parent / "sentiment_sample", NAME, NOTE)
