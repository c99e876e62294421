"""Generated text against transformers, live: greedy, cut distributions, blocked repeats, beams, adapters."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.cli import main
from lora_jax.generation.beam import Beam, search
from lora_jax.generation.engine import Engine
from lora_jax.generation.generate import generate
from lora_jax.generation.likelihood import Request, score
from lora_jax.generation.sampling import Sampling, block_repeats, cut
from lora_jax.huggingface.checkpoints.folder import load_folder
from lora_jax.huggingface.packages import find_model
from lora_jax.huggingface.pretrained import load_pretrained
from tests.golden.make_golden_models import CASES, VOCAB, make_model, save_model

pytestmark = pytest.mark.parity
DECODERS = [name for name in CASES if not name.startswith("bert")]
LENGTHS = (3, 9, 1, 6)
END = 7


class Both(NamedTuple):
    """A model of transformers and our engine on the checkpoint that it wrote."""

    theirs: Any
    engine: Engine


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Both]:
    for package in ("torch", "transformers"):
        pytest.importorskip(package, reason=f"parity of generated text needs {package}")
    made: dict[str, Both] = {}

    def make(name: str) -> Both:
        if name not in made:
            model, folder = make_model(CASES[name], 300 + len(made)), tmp_path_factory.mktemp(name)
            save_model(CASES[name], model, folder)
            loaded = load_folder(folder)
            made[name] = Both(model.float().eval(), Engine(loaded.config, loaded.params))
        return made[name]

    return make


def draw_prompts(seed: int, lengths: Sequence[int] = LENGTHS) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(8, VOCAB, size=n).tolist() for n in lengths]


def write_theirs(model: Any, prompts: list[list[int]], n_new: int, **options: Any) -> list[list[int]]:
    """Return what transformers writes after prompts that are padded in front, up to the end token."""
    import torch

    longest = max(map(len, prompts))
    tokens = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    with torch.inference_mode():
        out = model.generate(
            tokens, attention_mask=mask, max_new_tokens=n_new, do_sample=False, pad_token_id=0, **options
        )
    rows = [row[longest:].tolist() for row in out]
    return [row[: row.index(END)] if END in row else row for row in rows]


@pytest.mark.parametrize("name", DECODERS)
def test_greedy_text_of_prompts_of_unequal_length(both: Callable[[str], Both], name: str) -> None:
    theirs, engine = both(name)
    prompts = draw_prompts(0)
    found = generate(engine, prompts, 30, end_ids=[END])
    assert [one.tokens for one in found] == write_theirs(theirs, prompts, 30, eos_token_id=END)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_repeats_are_blocked_as_theirs(both: Callable[[str], Both], n: int) -> None:
    theirs, engine = both("llama")
    prompts = [
        prompt + prompt[-3:] for prompt in draw_prompts(1, (5, 5, 5))
    ]  # of one length: padding is text to them
    found = generate(engine, prompts, 30, sampling=Sampling(no_repeat=n))
    assert [one.tokens for one in found] == write_theirs(theirs, prompts, 30, no_repeat_ngram_size=n)


@pytest.mark.parametrize("name", ["gpt2", "llama3_tied"])
@pytest.mark.parametrize("penalty", [-1.0, 0.0, 1.0, 2.0])
@pytest.mark.parametrize("no_repeat", [None, 2])
def test_beams_find_their_texts(
    both: Callable[[str], Both], name: str, penalty: float, no_repeat: int | None
) -> None:
    theirs, engine = both(name)
    for seed in range(4):
        prompts = draw_prompts(seed, (4, 4, 4))
        beam = Beam(width=4, length_penalty=penalty, no_repeat=no_repeat)
        found = search(engine, prompts, 20, beam=beam, end_ids=[END])
        options = {} if no_repeat is None else {"no_repeat_ngram_size": no_repeat}
        expected = write_theirs(
            theirs, prompts, 20, num_beams=4, length_penalty=penalty, eos_token_id=END, **options
        )
        assert [one.tokens for one in found] == expected


def test_distributions_are_cut_as_theirs() -> None:
    torch = pytest.importorskip("torch", reason="parity of generated text needs torch")
    from transformers import NoRepeatNGramLogitsProcessor, TopKLogitsWarper, TopPLogitsWarper

    logits = np.random.default_rng(0).normal(size=(6, 50)).astype(np.float32) * 4
    for top_k in (1, 7, 50):
        for top_p in (0.1, 0.6, 0.95, 1.0):
            theirs = TopPLogitsWarper(top_p)(None, TopKLogitsWarper(top_k)(None, torch.tensor(logits)))
            ours = cut(jnp.asarray(logits), jnp.int32(top_k), jnp.float32(top_p))
            np.testing.assert_array_equal(np.isfinite(ours), np.isfinite(theirs.numpy()))
    history = np.random.default_rng(1).integers(4, size=(6, 30))
    theirs = NoRepeatNGramLogitsProcessor(3)(torch.tensor(history), torch.tensor(logits))
    ours = block_repeats(jnp.asarray(logits), jnp.asarray(history, jnp.int32), jnp.int32(30), 3)
    np.testing.assert_array_equal(np.isfinite(ours), np.isfinite(theirs.numpy()))


@pytest.mark.slow
def test_smollm2_writes_what_it_writes_with_transformers() -> None:
    for package in ("torch", "transformers", "gguf"):
        pytest.importorskip(package, reason=f"parity on a real model needs {package}")
    if main(["fetch", "smollm2"]) != 0:
        pytest.skip("smollm2 is not in the cache and could not be fetched")
    import torch
    from transformers import AutoModelForCausalLM

    folder: Path = find_model("smollm2")
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ours = load_pretrained("smollm2")
    tokenizer = ours.tokenizer
    texts = [
        "The capital of France is",
        "def add(a, b):",
        "Once upon a time, in a land far away, there lived a",
    ]
    prompts = [tokenizer.encode(text)[0] for text in texts]
    engine = Engine(ours.config, ours.params)
    found = generate(engine, prompts, 40)
    assert [one.tokens for one in found] == write_theirs(theirs, prompts, 40, eos_token_id=None)
    searched = search(engine, prompts[:1], 20, beam=Beam(width=3))
    assert [one.tokens for one in searched] == write_theirs(
        theirs, prompts[:1], 20, num_beams=3, eos_token_id=None
    )
    request = Request(prompts[0], tokenizer.encode(" Paris, of course.")[0])
    (likelihood,) = score(engine, [request]).likelihoods
    with torch.inference_mode():
        logits = theirs(torch.tensor([[*request.context, *request.continuation]])).logits[0]
    logprob = torch.log_softmax(logits.double(), -1)[len(request.context) - 1 : -1]
    expected = logprob.gather(1, torch.tensor(request.continuation)[:, None]).sum()
    assert likelihood.logprob == pytest.approx(float(expected), abs=2e-4)
