"""Pieces of a stream join to the text that is written at once, whatever is held back on the way."""

import pytest

from lora_jax.generation.generate import cut_at_stop, generate
from lora_jax.generation.sampling import Sampling
from lora_jax.generation.stream import stream
from tests.generation.conftest import draw_prompts


def decode(tokens) -> str:
    """Return tokens as UTF-8 text of two tokens a character, half a one written as tokenizers write it."""
    pairs = [tuple(tokens[i : i + 2]) for i in range(0, len(tokens), 2)]
    return "".join("\ufffd" if len(pair) == 1 else chr(0x4E00 + 40 * pair[0] + pair[1]) for pair in pairs)


@pytest.mark.parametrize("n_new", [11, 12])
def test_pieces_join_to_the_whole_text(engine, n_new: int) -> None:
    (prompt,) = draw_prompts([5])
    whole = generate(engine, [prompt], n_new)[0].tokens
    pieces = [piece for piece, _ in stream(engine, prompt, n_new, decode=decode)]
    assert "".join(pieces) == decode(whole)
    assert len(pieces) > 3
    assert all("\ufffd" not in piece for piece in pieces[:-1])


def test_nothing_of_a_stop_string_is_shown(engine) -> None:
    (prompt,) = draw_prompts([5])
    whole = decode(generate(engine, [prompt], 12)[0].tokens)
    stop = whole[2:5]
    pieces = [piece for piece, _ in stream(engine, prompt, 12, decode=decode, stop=[stop])]
    assert "".join(pieces) == cut_at_stop(whole, [stop]) == whole[: whole.index(stop)]


def test_what_is_drawn_is_what_generate_draws(engine) -> None:
    (prompt,) = draw_prompts([5])
    sampling = Sampling(temperature=1.0, seed=7)
    pieces = [piece for piece, _ in stream(engine, prompt, 8, decode=decode, sampling=sampling)]
    assert "".join(pieces) == decode(generate(engine, [prompt], 8, sampling=sampling)[0].tokens)
