"""lora-jax evaluate: a task as next-word prediction, with examples in the prompt or none."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands.adapter_options import load_engine
from lora_jax.commands.comma_lists import CommaList, add_list
from lora_jax.commands.number_options import add_number
from lora_jax.percent import percent
from lora_jax.ranges import COUNT, COUNT_FROM_0, whole

if TYPE_CHECKING:  # `lora-jax --help` needs no package
    from lora_jax.prompting.evaluate import Evaluation
    from lora_jax.prompting.prompt import Prompt

SHOTS = whole(0, 10**6)
DRAWS = whole(1, 10_000)
NORMALISE = ("length", "sum", "bytes", "unconditional")


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="score a model on a task by prompting, with or without examples",
        description="Score a model on a task by prompting it, without examples (zero-shot) or with some in"
        " the prompt (few-shot). Each score comes with an interval.",
    )
    parser.add_argument("model", help="smollm2, or a Hugging Face folder; with --adapter, the base model")
    parser.add_argument(
        "task",
        help="sentiment-sample (included); sst2, rte, qa, xsum or e2e (in $LORA_JAX_TASKS); tfds:NAME,"
        " such as tfds:glue/mnli; or files:FOLDER",
    )
    add_number(parser, "--examples", COUNT, metavar="N", help="number of questions to ask (default: all)")
    parser.add_argument(
        "--split",
        choices=("test", "dev"),
        default="test",
        help="split that the questions come from (default: test)",
    )
    parser.add_argument(
        "--adapter", type=Path, help="adapter file (.safetensors) of a run, or a folder written by peft"
    )
    add_number(
        parser,
        "--show",
        COUNT_FROM_0,
        default=0,
        metavar="N",
        help="print the first N prompts with their answers (default: 0)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    _add_demonstrations(parser.add_argument_group("examples in the prompt"))
    _add_scoring(parser.add_argument_group("the question and its answer"))
    parser.set_defaults(run=run)


def _add_demonstrations(group: Any) -> None:
    add_number(group, "--shots", SHOTS, default=0, metavar="K", help="examples in each prompt (default: 0)")
    group.add_argument("--balanced", action="store_true", help="draw equally many examples of each label")
    add_number(
        group,
        "--seeds",
        DRAWS,
        default=1,
        metavar="N",
        help="number of random draws of the examples (default: 1)",
    )
    add_number(
        group,
        "--orders",
        DRAWS,
        default=1,
        metavar="N",
        help="number of random orders for each draw (default: 1)",
    )


def _add_scoring(group: Any) -> None:
    group.add_argument(
        "--template",
        help="text of a question, with columns in braces, such as '{sentence} It is' (default: the"
        " task's own)",
    )
    add_list(
        group,
        CommaList("--answers", "bad,good", str),
        help="word for each label, in the order of the labels, separated by commas, such as 'bad,good'"
        " (default: the task's own)",
    )
    group.add_argument(
        "--generate",
        action="store_true",
        help="let the model write its answer, instead of comparing the likelihoods of the labels",
    )
    group.add_argument(
        "--normalise",
        choices=NORMALISE,
        default="length",
        help="how to normalise the likelihood of a label (default: length)",
    )
    group.add_argument(
        "--calibrate",
        action="store_true",
        help="correct the label probabilities with prompts that have no content (contextual calibration)",
    )


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.config import TaskConfig
    from lora_jax.huggingface.pretrained import find_base
    from lora_jax.prompting.evaluate import evaluate
    from lora_jax.prompting.load import load_prompted
    from lora_jax.prompting.prompt import find_prompt
    from lora_jax.prompting.shots import Shots

    scorer = "generate" if arguments.generate else None
    prompt = find_prompt(arguments.task, arguments.template, arguments.answers, scorer)
    # Without examples there is one prompt, and of one example there is one order.
    n_seeds = arguments.seeds if arguments.shots > 0 else 1
    n_orders = arguments.orders if arguments.shots > 1 else 1
    draws = [
        Shots(arguments.shots, arguments.balanced, seed, order)
        for seed in range(n_seeds)
        for order in range(n_orders)
    ]
    adapters = [] if arguments.adapter is None else [arguments.adapter]
    find_base(
        arguments.model
    )  # what is not there is said before a model is loaded, and the task is read first
    task = load_prompted(TaskConfig(name=arguments.task), prompt, None, _say)
    engine, tokenizer = load_engine(arguments.model, adapters)
    clock, found = _Clock(len(draws)), []
    for number, shots in enumerate(draws):
        found.append(
            evaluate(
                engine,
                tokenizer,
                task,
                prompt,
                shots,
                normalise=arguments.normalise,
                calibrate=arguments.calibrate,
                n_examples=arguments.examples,
                split=arguments.split,
                tell=lambda done, n, number=number: clock.show(number, done, n),
            )
        )
    document = _describe(arguments, prompt, found, n_seeds, n_orders)
    if arguments.json:
        print(json.dumps(document, indent=1))
        return 0
    for number in range(min(arguments.show, found[0].n_examples)):
        print(
            f"--- prompt {number + 1}\n{found[0].prompted.texts[number]}[{_answer(found[0], prompt, number)}]"
        )
    _print(document)
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class _Clock:
    """A line about every ten seconds: what is done, and the time left at the pace so far."""

    def __init__(self, n_draws: int) -> None:
        self._n_draws, self._started = n_draws, time.monotonic()
        self._last = self._started

    def show(self, draw: int, done: int, n: int) -> None:
        from lora_jax.runs.progress import LINE_SECONDS, format_duration

        now, share = time.monotonic(), (draw + done / n) / self._n_draws
        if now - self._last < LINE_SECONDS or share == 1:
            return
        self._last = now
        left = format_duration((now - self._started) * (1 - share) / share)
        of_draws = f", draw {draw + 1} of {self._n_draws}" if self._n_draws > 1 else ""
        print(
            f"{percent(share):>5}  question {done} of {n}{of_draws}  {left} left",
            file=sys.stderr,
            flush=True,
        )


def _describe(
    arguments: argparse.Namespace, prompt: Prompt, found: list[Evaluation], n_seeds: int, n_orders: int
) -> dict[str, Any]:
    """Return what was asked, scored and paid; scores are means over the draws, see `combine_draws`."""
    first = found[0]
    notes = dict.fromkeys(note for one in found for note in one.notes)
    return {
        "model": arguments.model,
        "adapter": None if arguments.adapter is None else str(arguments.adapter),
        "task": arguments.task,
        "split": arguments.split,
        "prompt": asdict(prompt),
        "shots": {"k": arguments.shots, "balanced": arguments.balanced, "seeds": n_seeds, "orders": n_orders},
        "normalise": arguments.normalise if prompt.scorer == "likelihood" else None,
        "calibrate": arguments.calibrate,
        "n_examples": first.n_examples,
        "scores": combine_draws(found, n_seeds, n_orders),
        "baselines": first.baselines,
        "n_tokens_asked": sum(one.n_tokens_asked for one in found),
        "n_tokens_run": sum(one.n_tokens_run for one in found),
        "seconds": sum(one.seconds for one in found),
        "draws": [one.describe() for one in found],
        "notes": list(notes),
    }


def combine_draws(found: Sequence[Evaluation], n_seeds: int, n_orders: int) -> dict[str, Any]:
    """Return each score's mean over draws and orders, in whose interval both, and the questions, have a part.

    found: the orders of seed 0, those of seed 1, ... All are asked the same questions, so that the interval
    is that of fine-tuning's seeds and test examples (`comparison.uncertainty.crossed_mean`). The orders
    of a draw are averaged before. Of a single draw the spread is that of its orders, and a single prompt has
    the interval of its questions.
    """
    import numpy as np

    from lora_jax.comparison.uncertainty import crossed_mean
    from lora_jax.documents import to_document

    if len(found) == 1:
        return {name: {**score} for name, score in found[0].scores.items()}
    combined = {}
    for name in found[0].values:
        values_SON = np.array([one.values[name] for one in found]).reshape(n_seeds, n_orders, -1)
        values_SN = values_SON.mean(axis=1) if n_seeds > 1 else values_SON[0]
        combined[name] = to_document(crossed_mean(values_SN, bounds=(0.0, 1.0)))
    return combined


def _answer(found: Evaluation, prompt: Prompt, number: int) -> str:
    prediction = found.predictions[number]
    return prompt.follow(prompt.answers[prediction]) if isinstance(prediction, int) else f" {prediction}"


def _print(document: dict[str, Any]) -> None:
    from lora_jax.report.kit.tables import Table, make_console, print_table

    shots, n = document["shots"], document["n_examples"]
    drawn = f"{shots['k']} shots" + (" balanced" if shots["balanced"] and shots["k"] else "")
    if shots["seeds"] * shots["orders"] > 1:
        drawn += f", {shots['seeds']} draws x {shots['orders']} orders"
    how = f", likelihood by {document['normalise']}" if document["normalise"] else ", generated"
    how += ", calibrated" if document["calibrate"] else ""
    title = f"{document['model']} on {n} questions of {document['task']} ({document['split']}), {drawn}{how}"
    rows = [
        (name, f"{score['value']:.3f}", f"{score['ci95'][0]:.3f} to {score['ci95'][1]:.3f}")
        for name, score in document["scores"].items()
    ]
    rows += [(name, f"{value:.3f}", "") for name, value in document["baselines"].items()]
    console = make_console()
    console.print(title, style="bold", markup=False, highlight=False)
    print_table(Table("", ("score", "value", "95 % interval"), tuple(rows), frozenset({1, 2})), console)
    run, asked, seconds = document["n_tokens_run"], document["n_tokens_asked"], document["seconds"]
    lines = [
        f"cost: {asked:,} tokens of prompts and answers, of which {run:,} were run; {seconds:.1f} s,"
        f" {asked / len(document['draws']) / n:,.0f} tokens and"
        f" {seconds / len(document['draws']) / n:.3f} s a question (compilation included)",
        *(f"note: {note}" for note in document["notes"]),
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
