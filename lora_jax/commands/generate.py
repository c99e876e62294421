"""lora-jax generate: text after a prompt, as it is written."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands.adapter_options import load_engine
from lora_jax.commands.number_options import add_number
from lora_jax.errors import LoraJaxError
from lora_jax.framing import Framing, find_end_ids
from lora_jax.ranges import BEAM_WIDTH, COUNT, LENGTH_PENALTY, POSITIVE_SHARE, SEED, TEMPERATURE

if TYPE_CHECKING:  # `lora-jax --help` needs no package
    from lora_jax.generation.engine import Engine
    from lora_jax.generation.generate import Completion
    from lora_jax.huggingface.tokenizer import HFTokenizer


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "generate",
        help="complete prompts, and print the text as it is written",
        description="Complete one or several prompts with a language model and, if you like, its adapters."
        " The text is printed as it is written.",
    )
    parser.add_argument("model", help="smollm2, a Hugging Face folder, or a hub id; with --adapter, the base")
    parser.add_argument(
        "--prompt",
        action="append",
        required=True,
        metavar="TEXT",
        help="text to complete; repeat the option to complete several at once",
    )
    parser.add_argument(
        "--chat",
        action="store_true",
        help="ask each prompt as a user does, by the model's chat template, and print only the answer",
    )
    add_number(parser, "--new", COUNT, default=64, metavar="N", help="write at most N tokens (default: 64)")
    parser.add_argument(
        "--adapter",
        type=Path,
        action="append",
        default=[],
        help="adapter file of a run, or a folder written by peft; repeat the option to complete every"
        " prompt with each adapter",
    )
    parser.add_argument(
        "--stop",
        action="append",
        default=[],
        metavar="TEXT",
        help="stop at this string; repeat the option for more",
    )
    parser.add_argument("--json", action="store_true", help="print JSON once everything is written")
    _add_choice(parser.add_argument_group("how a token is chosen"))
    parser.set_defaults(run=run)


def _add_choice(group: Any) -> None:
    add_number(
        group,
        "--temperature",
        TEMPERATURE,
        default=0.0,
        help="sampling temperature; 0 always takes the likeliest token (default: 0)",
    )
    add_number(group, "--top-k", COUNT, metavar="K", help="sample from the K likeliest tokens (default: all)")
    add_number(
        group,
        "--top-p",
        POSITIVE_SHARE,
        metavar="P",
        help="sample from the likeliest tokens whose probabilities sum to P (default: all)",
    )
    add_number(group, "--seed", SEED, default=0, help="random seed of the sampling (default: 0)")
    add_number(
        group,
        "--no-repeat",
        COUNT,
        metavar="N",
        help="never write the same N tokens in a row twice (default: off)",
    )
    add_number(
        group,
        "--beam",
        BEAM_WIDTH,
        metavar="W",
        help="use beam search with W beams instead of sampling (default: off)",
    )
    add_number(
        group,
        "--length-penalty",
        LENGTH_PENALTY,
        default=1.0,
        help="length penalty of the beam search; above 0 favours long texts (default: 1)",
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.beam is not None and (arguments.temperature or arguments.top_k or arguments.top_p):
        raise LoraJaxError("--beam searches, --temperature, --top-k and --top-p draw: ask for one of them.")
    if arguments.beam is not None and arguments.stop:
        raise LoraJaxError("--stop is given with --beam, which ends at an end token alone: drop one of them.")
    if arguments.temperature == 0 and (arguments.top_k or arguments.top_p):
        raise LoraJaxError("--top-k and --top-p cut what is drawn from: give a --temperature above 0.")
    engine, tokenizer = load_engine(arguments.model, arguments.adapter)
    rows = [
        Row(text, _encode(text, tokenizer, arguments.chat), number, "" if arguments.chat else text)
        for text in arguments.prompt
        for number in range(engine.n_adapters)
    ]
    started = time.monotonic()
    if len(rows) == 1 and arguments.beam is None and not arguments.json:
        n_written = _stream(engine, tokenizer, rows[0], arguments)
    else:
        n_written = _write_all(engine, tokenizer, rows, arguments)
    seconds = time.monotonic() - started
    print(
        f"{n_written} tokens in {seconds:.1f} s, {n_written / seconds:.1f} a second, compiling included",
        file=sys.stderr,
    )
    return 0


@dataclass(frozen=True)
class Row:
    """A prompt, the number of the adapter that completes it, and what is printed in front of that."""

    text: str
    tokens: list[int]
    adapter: int
    shown: str


def _encode(text: str, tokenizer: HFTokenizer, is_chat: bool) -> list[int]:
    if not is_chat:
        return Framing(tokenizer).prompt(text).ids
    asked = tokenizer.render([{"role": "user", "content": text}], is_open=True)
    return Framing(tokenizer).prompt(asked, rendered=True).ids


def _ends(tokenizer: HFTokenizer) -> tuple[int, ...]:
    return find_end_ids(tokenizer)


def _sampling(arguments: argparse.Namespace) -> Any:
    from lora_jax.generation.sampling import Sampling

    return Sampling(
        arguments.temperature, arguments.top_k, arguments.top_p, arguments.seed, arguments.no_repeat
    )


def _stream(engine: Engine, tokenizer: HFTokenizer, row: Row, arguments: argparse.Namespace) -> int:
    from lora_jax.generation.stream import stream

    n_written, is_first = 0, True
    pieces = stream(
        engine,
        row.tokens,
        arguments.new,
        decode=tokenizer.continue_text,
        sampling=_sampling(arguments),
        end_ids=_ends(tokenizer),
        stop=arguments.stop,
    )
    for piece, completion in pieces:
        print(row.shown + piece if is_first else piece, end="", flush=True)
        n_written, is_first = len(completion.tokens), False
    print(row.shown if is_first else "")
    return n_written


def _write_all(engine: Engine, tokenizer: HFTokenizer, rows: list[Row], arguments: argparse.Namespace) -> int:
    from lora_jax.generation.generate import cut_at_stop

    completions = _complete(engine, tokenizer, rows, arguments)
    texts = [cut_at_stop(tokenizer.continue_text(one.tokens), arguments.stop) for one in completions]
    names = [str(path) for path in arguments.adapter] or [None]
    if arguments.json:
        found = [
            {
                "prompt": row.text,
                "adapter": names[row.adapter],
                "text": text,
                "n_prompt_tokens": len(row.tokens),
                "n_new_tokens": len(one.tokens),
                "finish": one.finish,
            }
            for row, text, one in zip(rows, texts, completions, strict=True)
        ]
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        for row, text in zip(rows, texts, strict=True):
            if len(rows) > 1:
                print(f"--- {names[row.adapter]}" if engine.n_adapters > 1 else "---")
            print(row.shown + text)
    return sum(len(one.tokens) for one in completions)


def _complete(
    engine: Engine, tokenizer: HFTokenizer, rows: list[Row], arguments: argparse.Namespace
) -> list[Completion]:
    from lora_jax.generation.beam import Beam, search
    from lora_jax.generation.generate import generate

    prompts, adapters = [row.tokens for row in rows], [row.adapter for row in rows]
    if arguments.beam is not None:
        beam = Beam(
            width=arguments.beam, length_penalty=arguments.length_penalty, no_repeat=arguments.no_repeat
        )
        ends = _ends(tokenizer)
        return search(engine, prompts, arguments.new, beam=beam, end_ids=ends, adapters=adapters)
    return generate(
        engine,
        prompts,
        arguments.new,
        sampling=_sampling(arguments),
        end_ids=_ends(tokenizer),
        stop=arguments.stop,
        decode=tokenizer.continue_text,
        adapters=adapters,
    )
