"""Forgetting: how much fine-tuning raises the loss on held-out text that the base was pretrained on."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lora_jax.config import DataConfig
from lora_jax.data import prepare as prepare_data
from lora_jax.data.tasks import Encoded
from lora_jax.data.tasks.text import encode_heldout
from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.evaluate import evaluate_split
from lora_jax.finetuning.prepare import Prepared
from lora_jax.metrics import Score
from lora_jax.peft.method import Adapted
from lora_jax.peft.methods.subset import Full
from lora_jax.training.heldout import clustered_standard_error


@dataclass(frozen=True)
class SourceText:
    """Held-out windows of the text that a base knows, and the base's own losses on them.

    Attributes:
        name: Names of the sources.
        windows: The W windows.
        documents_W: The document of each window (W,). Losses cluster by it.
        before_W: The base's mean loss on each window (W,), in nats per token. It is measured without a
            method, because with some methods, such as prompts, the adapted model differs from the start.
    """

    name: str
    windows: Encoded
    documents_W: np.ndarray
    before_W: np.ndarray


@dataclass(frozen=True)
class Forgetting:
    """What a run forgot. Losses are in nats per token of the source text.

    Attributes:
        source: Name of the source text.
        before: The base's loss.
        after: The loss of the adapted model.
        change: after - before, paired by window, with a standard error by document (Liang & Zeger 1986).
    """

    source: str
    before: float
    after: float
    change: Score


def prepare_source(prepared: Prepared, data: DataConfig, say: Callable[[str], None]) -> SourceText:
    """Cut the held-out text of `data` with the base's tokenizer, and measure the base's losses on it.

    Args:
        prepared: The base, with any task.
        data: What the base was pretrained on.
        say: Called with a line about each thing that takes time.

    Raises:
        LoraJaxError: A source cannot be read, or only one document is held out.
    """
    tokenizer = prepared.pretrained.tokenizer_file
    seq_len = min(data.seq_len, prepared.model.context)
    own = replace(data, tokenizer=str(tokenizer), seq_len=seq_len)
    dataset = prepare_data(own, prepared.model.vocab_size, on_progress=say)
    if len(np.unique(dataset.heldout_documents_W)) < 2:
        raise LoraJaxError(
            f"The source text of {prepared.name} has only one held-out document, so its loss has no standard"
            " error: raise data.heldout_tokens or data.heldout_fraction."
        )
    windows = encode_heldout(dataset)
    scores = evaluate_split(prepared, Full(), Adapted(prepared.base, {}), windows)
    name = " + ".join(dataset.heldout_names)
    return SourceText(name, windows, dataset.heldout_documents_W, np.array(scores.values))


def forget(source: SourceText, after_W: np.ndarray) -> Forgetting:
    """Compare a model's losses on the source text with those of its base.

    The interval uses Student's t. Its degrees of freedom are the number of documents less one.

    Args:
        source: The source text.
        after_W: Mean loss of the adapted model on each window (W,), in nats per token.
    """
    from scipy.special import stdtrit

    change_W = after_W - source.before_W
    mean, se = float(change_W.mean()), clustered_standard_error(change_W, source.documents_W)
    assert se is not None  # `prepare_source` has refused a single document
    reach = float(stdtrit(len(np.unique(source.documents_W)) - 1, 0.975)) * se
    change = Score(value=mean, se=se, ci95=(mean - reach, mean + reach))
    return Forgetting(source.name, float(source.before_W.mean()), float(after_W.mean()), change)
