"""Tokens a second of greedy decoding, beside transformers; what reusing a prompt's cache gains."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.accelerator import peak_bytes
from benchmarks.figures import Figure, Row, Section
from benchmarks.lora import BASES
from benchmarks.rivals import HOW_TO_INSTALL, is_here
from benchmarks.side import TURN_SECONDS, Side, Work, take_turns
from lora_jax.config import ModelConfig, to_dict
from lora_jax.errors import LoraJaxError
from lora_jax.generation.engine import Engine
from lora_jax.generation.generate import generate
from lora_jax.generation.likelihood import Request, Scored, score
from lora_jax.huggingface.checkpoints.folder import load_folder
from lora_jax.huggingface.packages import PACKAGES as MODELS
from lora_jax.huggingface.packages import locate_model
from lora_jax.timing import Say, divide

OURS, THEIRS = "ours", "transformers"
PACKAGES = ("torch", "transformers")
SPEED_AT_LEAST = 1.0  # ours over transformers'
BATCHES = (1, 32)
N_PROMPT, N_NEW = 16, 32
# Of a few-shot prompt, in tokens: 8 examples in front of every question, the question, each label's words
N_SHOTS, N_SHOT, N_QUESTION, LABELS = 8, 24, 24, (1, 2)
N_QUESTIONS = 8
REUSED, WHOLE = "reused", "whole"
SCORING = {REUSED: True, WHOLE: False}


@dataclass(frozen=True)
class Decoder:
    """A model that writes. fetched: whose weights are taken if they are here, else random ones."""

    label: str
    model: ModelConfig
    fetched: str | None = None


SMALL, REAL = (Decoder(base.label.split(", ")[0], base.model, base.fetched) for base in BASES)


def measure_generation(
    repeats: int,
    say: Say,
    decoders: Sequence[Decoder] = (SMALL, REAL),
    batches: Sequence[int] = BATCHES,
    n_new: int = N_NEW,
    turn_seconds: float = TURN_SECONDS,
) -> tuple[Section, ...]:
    """Time completions at each size of batch, by us and by transformers if it is here; and scoring."""
    beside = is_here(*PACKAGES) and jax.default_backend() in ("cpu", "gpu")
    notes = [
        f"Prompts of {N_PROMPT} random tokens, {n_new} new ones; the reading of the prompt is in the time."
    ]
    if not beside:
        notes.append(f"transformers and PyTorch are not installed: {HOW_TO_INSTALL}.")
    decoding, scoring = [], []
    for number, decoder in enumerate(decoders, 1):
        where = f"generation {number}/{len(decoders)}: {decoder.label}"
        say(f"{where}{', beside transformers' if beside else ''}")
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            checkpoint, note = find_checkpoint(decoder, folder)
            notes += [note] if note else []
            settings = {"checkpoint": checkpoint, "folder": str(folder), "n_new": n_new, "batches": batches}
            leave_prompts(decoder.model, max(batches), folder)
            sides = start_sides(settings, beside, stack)
            for batch in batches:
                turns = {name: side.turn(str(batch)) for name, side in sides.items()}
                seconds = take_turns(turns, repeats, turn_seconds)
                agree = check_tokens(
                    decoder.label, {name: side.facts["tokens"] for name, side in sides.items()}
                )
                decoding.append(make_row(decoder, batch, n_new, seconds, agree))
            say(f"{where}, scoring of few-shot prompts")
            turns = {name: sides[OURS].turn(name) for name in SCORING}
            counted = sides[OURS].facts["n_tokens_run"]
            scoring.append(make_scoring_row(decoder, take_turns(turns, repeats, turn_seconds), counted))
            if beside:
                told = sides[THEIRS].facts
                version = f"transformers {told['transformers']}, PyTorch {told['version']}, {told['threads']}"
                version += " threads."
                notes += [version] if version not in notes else []
    return (
        Section("generation", "Greedy decoding", tuple(decoding), note=" ".join(notes)),
        Section(
            "scoring", "Likelihoods of labels after few-shot prompts", tuple(scoring), note=describe_scoring()
        ),
    )


def describe_scoring() -> str:
    return (
        f"{N_QUESTIONS} questions of {N_QUESTION} tokens after the same {N_SHOTS} examples of {N_SHOT}, and"
        f" {len(LABELS)} labels of {' and '.join(map(str, LABELS))} after each. reused: the examples are read"
        " once, and each question once for all labels; whole: every request from its first token."
    )


def make_row(
    decoder: Decoder, batch: int, n_new: int, seconds: Mapping[str, list[float]], agree: float | None
) -> Row:
    """Turn the seconds of a completion into tokens a second; those of transformers where it was timed."""
    figures = [
        Figure("tokens/s", "tokens/s", tuple(batch * n_new / s for s in seconds[OURS])),
        Figure("a token of each", "ms", tuple(1e3 * s / n_new for s in seconds[OURS])),
    ]
    if THEIRS in seconds:
        figures += [
            Figure("transformers'", "tokens/s", tuple(batch * n_new / s for s in seconds[THEIRS])),
            Figure(
                "ours / transformers",
                "ratio",
                tuple(divide(seconds[THEIRS], seconds[OURS])),
                at_least=SPEED_AT_LEAST,
                better="more",
            ),
        ]
    settings = {
        "model": to_dict(decoder.model),
        "batch": batch,
        "prompt": N_PROMPT,
        "new": n_new,
        "same_tokens": agree,
    }
    return Row(f"{decoder.label}, batch {batch}", settings, tuple(figures))


def make_scoring_row(
    decoder: Decoder, seconds: Mapping[str, list[float]], n_tokens_run: Mapping[str, int]
) -> Row:
    figures = (
        Figure("reused", "ms", tuple(1e3 * s for s in seconds[REUSED])),
        Figure("whole", "ms", tuple(1e3 * s for s in seconds[WHOLE])),
        Figure("whole / reused", "ratio", tuple(divide(seconds[WHOLE], seconds[REUSED])), better="more"),
        Figure("tokens read, whole / reused", "ratio", (n_tokens_run[WHOLE] / n_tokens_run[REUSED],)),
    )
    return Row(decoder.label, {"model": to_dict(decoder.model), "n_tokens_run": dict(n_tokens_run)}, figures)


def find_checkpoint(decoder: Decoder, folder: Path) -> tuple[str, str]:
    """Return the folder of the weights, made at random where they are not fetched, and a note of that."""
    if decoder.fetched is not None and locate_model(decoder.fetched).is_dir():
        return str(locate_model(decoder.fetched)), ""
    checkpoint = str(folder / "checkpoint")
    given = {"checkpoint": checkpoint, "model": asdict(decoder.model)}
    Side("benchmarks.lora:work_on_checkpoint", given).close()
    if decoder.fetched is None:
        return checkpoint, ""
    return checkpoint, (
        f"{decoder.label}: random weights of its shape, since it is not fetched (./launch.sh fetch"
        f" {decoder.fetched}, {MODELS[decoder.fetched].megabytes} MB)."
    )


def leave_prompts(model: ModelConfig, batch: int, folder: Path) -> None:
    """Write the prompts that all sides complete, and the requests that ours scores."""
    draw = np.random.default_rng(0)

    def words(n: int) -> list[int]:
        return draw.integers(model.vocab_size, size=n).tolist()

    np.save(folder / "prompts.npy", [words(N_PROMPT) for _ in range(batch)])
    examples, labels = words(N_SHOTS * N_SHOT), [words(n) for n in LABELS]
    questions = [words(N_QUESTION) for _ in range(N_QUESTIONS)]
    requests = [[examples + question, label] for question in questions for label in labels]
    (folder / "requests.json").write_text(json.dumps(requests))


def start_sides(settings: Mapping[str, Any], beside: bool, stack: ExitStack) -> dict[str, Side]:
    sides = {OURS: stack.enter_context(Side("benchmarks.generation:work_on_generation", settings))}
    if beside:
        given = {**settings, "platform": jax.default_backend()}
        program = "benchmarks.pytorch.generation:work_on_generation"
        sides[THEIRS] = stack.enter_context(Side(program, given))
    return sides


def check_tokens(what: str, tokens: Mapping[str, list[list[int]]]) -> float | None:
    """Return the share of new tokens that are the same on both sides, None where there is one side.

    Raises:
        LoraJaxError: the first new token of a row differs. Later ones may, after two that are as likely as
            rounding can tell.
    """
    if THEIRS not in tokens:
        return None
    ours, theirs = (np.array(tokens[name]) for name in (OURS, THEIRS))
    if ours.shape != theirs.shape or not (ours[:, 0] == theirs[:, 0]).all():
        raise LoraJaxError(
            f"{what}: we and transformers do not write the same first tokens after the same prompts, so that"
            " no time of theirs can be compared, which is a bug; leave the section out by --only."
        )
    return float((ours == theirs).mean())


def work_on_generation(settings: dict[str, Any]) -> Work:
    """Make our side of what lies in settings["folder"]: an action for each batch, and scoring two ways."""
    loaded, folder = load_folder(settings["checkpoint"]), Path(settings["folder"])
    engine, n_new = Engine(loaded.config, loaded.params), settings["n_new"]
    prompts = np.load(folder / "prompts.npy").tolist()
    requests = [Request(*pair) for pair in json.loads((folder / "requests.json").read_text())]

    def complete(batch: int) -> list[list[int]]:
        found = generate(engine, prompts[:batch], n_new, batch_size=batch)
        return [completion.tokens for completion in found]

    def run(reuse: bool) -> Scored:
        return score(engine, requests, reuse=reuse)

    acts: dict[str, Callable[[], object]] = {
        **{str(batch): partial(complete, batch) for batch in settings["batches"]},
        **{name: partial(run, reuse) for name, reuse in SCORING.items()},
    }
    facts = {
        "tokens": complete(max(settings["batches"])),
        "n_tokens_run": {name: run(reuse).n_tokens_run for name, reuse in SCORING.items()},
    }
    return Work({name: partial(repeat, act) for name, act in acts.items()}, facts, peak_bytes())


def repeat(act: Callable[[], object], times: int) -> None:
    for _ in range(times):
        act()
