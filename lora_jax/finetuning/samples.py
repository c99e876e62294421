"""Samples: what a language model writes for a few dev prompts before and after it was adapted."""

from collections.abc import Sequence
from dataclasses import dataclass

from lora_jax.data.tasks import Example, encode_prompts
from lora_jax.data.tasks.chat import Conversation
from lora_jax.finetuning.evaluate import complete
from lora_jax.finetuning.prepare import Prepared
from lora_jax.generation.adapters import load_engine
from lora_jax.generation.engine import Engine
from lora_jax.params import Params
from lora_jax.peft.method import MethodConfig

N_SAMPLES = 3
MOST_TOKENS = 48  # longest completion, in tokens


@dataclass(frozen=True)
class Sample:
    """A dev prompt and its completions, which are written greedily.

    Attributes:
        prompt: The prompt, as a person reads it.
        wanted: Its first reference.
        before: What the base writes.
        after: What the adapted model writes.
    """

    prompt: str
    wanted: str
    before: str
    after: str


def write_samples(
    prepared: Prepared, config: MethodConfig, trainable: Params, max_tokens: int
) -> list[Sample]:
    """Complete the first dev prompts with the base alone and with its adapter.

    Args:
        prepared: A base that predicts words, and its task.
        config: The method.
        trainable: Its trained weights.
        max_tokens: Longest row of the task. Prompts are cut to it.
    """
    examples = prepared.task.dev[:N_SAMPLES]
    base = load_engine(prepared.model, prepared.base)
    adapted = load_engine(prepared.model, prepared.base, [(config, trainable)])
    befores, afters = (_complete(prepared, engine, examples, max_tokens) for engine in (base, adapted))
    return [
        Sample(read_prompt(example), example.references[0].strip(), before, after)
        for example, before, after in zip(examples, befores, afters, strict=True)
    ]


def read_prompt(example: Example) -> str:
    """Return a prompt as a person reads it. Of a conversation it is the last message."""
    text = example.text
    return text.messages[-1]["content"] if isinstance(text, Conversation) else text


def _complete(prepared: Prepared, engine: Engine, examples: Sequence[Example], max_tokens: int) -> list[str]:
    prompts = encode_prompts(examples, prepared.pretrained.tokenizer, max_tokens).tokens
    n_new = min(MOST_TOKENS, prepared.model.context - max(map(len, prompts)))
    return complete(prepared, engine, prompts, max(1, n_new))
