"""Stream text while it is written: the pieces join to the whole text, and none is taken back."""

from collections.abc import Iterator, Sequence

from lora_jax.generation.engine import Engine
from lora_jax.generation.generate import Completion, Decode, Lines, Wanted, check, cut_at_stop, write
from lora_jax.generation.sampling import GREEDY, Sampling
from lora_jax.generation.shapes import Tokens

STEPS_PER_YIELD = 2  # tokens between two pieces
UNFINISHED = "\ufffd"  # what a tokenizer writes for the first bytes of a character


def stream(
    engine: Engine,
    prompt: Tokens,
    n_new: int,
    *,
    decode: Decode,
    sampling: Sampling = GREEDY,
    end_ids: Sequence[int] = (),
    stop: Sequence[str] = (),
    adapter: int = 0,
) -> Iterator[tuple[str, Completion]]:
    """Complete one prompt, and yield its text while it is written.

    We hold a piece back as long as it may be part of a character or of a stop string. The tokens are those of
    `generate`, which explains the arguments.

    Args:
        engine: The model.
        prompt: Token ids of the prompt.
        n_new: Largest number of new tokens.
        decode: Maps new tokens to text.
        sampling: How tokens are drawn.
        end_ids: Tokens that end a text.
        stop: Strings that end a text.
        adapter: Index of the adapter.

    Yields:
        Pairs (piece of text, completion so far). The pieces join to the text before a stop string.

    Raises:
        LoraJaxError: As for `generate`.
    """
    wanted = Wanted(n_new, sampling, end_ids, stop, decode)
    check(engine, [prompt], wanted)
    lines = Lines([prompt], [0], [adapter])
    shown, completion = "", None
    for (completion,) in write(engine, lines, 1, wanted, STEPS_PER_YIELD):
        text = cut_at_stop(decode(completion.tokens), stop)
        sure = text[: len(text) - _count_unsure(text, stop)] if completion.finish != "stop" else text
        if sure.startswith(shown) and len(sure) > len(shown):
            piece, shown = sure[len(shown) :], sure
            yield piece, completion
    if completion is not None:
        text = cut_at_stop(decode(completion.tokens), stop)
        if len(text) > len(shown):
            yield text[len(shown) :], completion


def _count_unsure(text: str, stop: Sequence[str]) -> int:
    """Return how many characters at the end may still change or turn out to belong to a stop string."""
    whole = text.rstrip(UNFINISHED)
    begun = [n for one in stop for n in range(1, len(one)) if whole.endswith(one[:n])]
    return len(text) - len(whole) + max(begun, default=0)
