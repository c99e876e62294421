"""Prompts as tokens: demonstrations in front of questions, as many as the context holds."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lora_jax.data.tasks import Example, TextTokenizer
from lora_jax.errors import LoraJaxError
from lora_jax.framing import Framing
from lora_jax.prompting.prompt import Prompt

Ids = tuple[int, ...]


class Prompted(NamedTuple):
    """Questions as a model reads them, and the answers that may follow each.

    Attributes:
        contexts: The tokens of each question, after its demonstrations.
        texts: The same as text.
        answers: For each question, the tokens of each label. Empty without labels.
        n_shots_N: Demonstrations in front of each question, int.
        n_cut: Number of questions with fewer demonstrations than were given.
        n_shortened: Number of questions whose own text was cut.
    """

    contexts: tuple[Ids, ...]
    texts: tuple[str, ...]
    answers: tuple[tuple[Ids, ...], ...]
    n_shots_N: np.ndarray
    n_cut: int
    n_shortened: int

    def describe_cuts(self, n_given: int, room: int) -> list[str]:
        """Return a sentence for each kind of text that was left out. Empty if everything fits.

        Args:
            n_given: Number of demonstrations that were given.
            room: Number of tokens that fit in the context.
        """
        n, notes = len(self.contexts), []
        if self.n_cut:
            notes.append(
                f"{self.n_cut} of {n} prompts hold fewer than the {n_given} demonstrations, from"
                f" {self.n_shots_N.min()} up (mean {self.n_shots_N.mean():.1f}): the context has room for"
                f" {room} tokens, the answer's included"
            )
        if self.n_shortened:
            notes.append(
                f"{self.n_shortened} of {n} questions are longer than the context and lost their end"
            )
        return notes


def build_prompts(
    prompt: Prompt,
    demonstrations: Sequence[Example],
    questions: Sequence[Example],
    tokenizer: TextTokenizer,
    room: int,
) -> Prompted:
    """Encode every question after its examples, so that it fits in the context together with its answer.

    A prompt is encoded as one text and an answer as its continuation, by `lora_jax.framing`. If not all
    examples fit, the last ones are left out, so that all prompts begin with the same tokens. A question that
    does not fit by itself loses the end of its column, if it has only one column.

    Args:
        prompt: The prompt.
        demonstrations: The examples in the prompt. They and the questions come from a task that was loaded
            with the prompt's template.
        questions: The questions.
        tokenizer: The tokenizer.
        room: Number of tokens that fit in the context.

    Raises:
        LoraJaxError: A prompt is empty or longer than the context, an answer has no tokens, or an example has
            no answer.
    """
    encode = make_encoder(tokenizer)
    shown = [_show(prompt, example) + prompt.separator for example in demonstrations]
    leads, lengths = [""], [0]
    for text in shown:
        leads.append(leads[-1] + text)
        lengths.append(len(encode(leads[-1])))
        if lengths[-1] > room:  # more of them would not fit either
            break
    contexts, texts, answers, n_shots, n_shortened = [], [], [], [], 0
    for number, question in enumerate(questions):
        ours = encode_answers(prompt, question.text, tokenizer)
        reserved = max((len(ids) for ids in ours), default=prompt.n_new)
        text = _shorten(prompt, question.text, number, room - reserved, encode)
        n_shortened += text != question.text
        alone = len(encode(text))
        # Tokens may join or part at a border, so the estimate is one or two off. The whole text decides.
        m = max(m for m, length in enumerate(lengths) if not m or length + alone <= room - reserved + 2)
        while len(ids := encode(leads[m] + text)) > room - reserved:
            m -= 1
        if not ids:
            raise LoraJaxError(
                f"Question {number} is an empty prompt ({text!r}), and nothing is predicted from nothing:"
                " give the template words, or show demonstrations."
            )
        contexts.append(tuple(ids))
        texts.append(leads[m] + text)
        answers.append(ours)
        n_shots.append(m)
    n_shots_N = np.array(n_shots, np.int64)
    n_cut = int((n_shots_N < len(demonstrations)).sum())
    return Prompted(tuple(contexts), tuple(texts), tuple(answers), n_shots_N, n_cut, n_shortened)


def make_encoder(tokenizer: TextTokenizer) -> Callable[[str], list[int]]:
    """Return a function from a text to the ids of a prompt that begins with it.

    A text without tokens has no ids.
    """
    framing = Framing(tokenizer)

    def encode(text: str) -> list[int]:
        found = framing.prompt(text)
        return found.ids if len(found.ids) > found.n_front else framing.plain(text)

    return encode


def encode_answers(prompt: Prompt, question: str, tokenizer: TextTokenizer) -> tuple[Ids, ...]:
    """Return the tokens of each label's answer to a question.

    Raises:
        LoraJaxError: An answer has no tokens.
    """
    if prompt.scorer == "generate":
        return ()
    framing, found = Framing(tokenizer), []
    for answer in prompt.answers:
        ids = framing.continuation(question, prompt.follow(answer))
        if not ids:
            raise LoraJaxError(
                f"The answer {answer!r} has no tokens in this tokenizer, so that no likelihood is its: give"
                " the label other words."
            )
        found.append(tuple(ids))
    return tuple(found)


def _show(prompt: Prompt, example: Example) -> str:
    """Return a demonstration: the question and its answer."""
    if prompt.answers:
        if example.label is None or not 0 <= example.label < len(prompt.answers):
            raise LoraJaxError(
                f"A demonstration ({example.text[:40]!r}) has the label {example.label}, and the prompt has"
                f" answers for 0 to {len(prompt.answers) - 1}: give the words of each label."
            )
        return example.text + prompt.follow(prompt.answers[example.label])
    if not example.references:
        raise LoraJaxError(f"A demonstration ({example.text[:40]!r}) has no answer: take it away.")
    return example.text + example.references[0]


def _shorten(prompt: Prompt, text: str, number: int, room: int, encode: Callable[[str], list[int]]) -> str:
    """Return a question of at most `room` tokens. If it is too long, its one column is cut at a space."""
    n_tokens = len(encode(text))
    if n_tokens <= room:
        return text
    columns = prompt.columns
    tail_tokens = len(encode(prompt.tail)) if prompt.tail else 0
    if len(columns) > 1 or tail_tokens >= room or not text.endswith(prompt.tail):
        raise LoraJaxError(
            f"Question {number} ({text[:40]!r}) is a prompt of {n_tokens} tokens, longer than the"
            f" {max(0, room)} that the model's context has before the answer: shorten it, or take a model of"
            " a longer context."
        )
    body = text[: len(text) - len(prompt.tail)]
    low, high = 0, len(body)  # characters that fit, and characters that do not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if len(encode(body[:middle] + prompt.tail)) <= room else (low, middle)
    at_space = body.rfind(" ", 0, low + 1)
    kept = body[: at_space if at_space > 0 else low]
    while len(encode(kept + prompt.tail)) > room:  # fewer letters may be more tokens
        kept = kept[:-1]
    return kept + prompt.tail
