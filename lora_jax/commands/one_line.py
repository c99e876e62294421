"""lora-jax finetune --base --data: the options that stand for a config, and what is said at the end."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from lora_jax.commands.number_options import add_number
from lora_jax.commands.training import say
from lora_jax.errors import LoraJaxError
from lora_jax.ranges import COUNT, RANK, RATE, SEED, whole

if TYPE_CHECKING:  # `lora-jax --help` needs no package
    from lora_jax.finetuning.experiment import FinetuneExperiment
    from lora_jax.finetuning.prepare import Prepared
    from lora_jax.runs.store import RunStore

NAMES = ("base", "data", "method", "rank", "epochs", "steps", "rate", "seed", "max_tokens", "form")
SHOWN = 300  # characters of a sample


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what stands in place of a config file."""
    group = parser.add_argument_group("your own data, without a config file")
    group.add_argument(
        "--base",
        help="model to adapt: a Hugging Face folder, OWNER/NAME on its hub, minilm, or smollm2"
        " (SmolLM2-135M-Instruct, from a 4-bit file)",
    )
    group.add_argument(
        "--data",
        type=Path,
        help=".jsonl, .json, .csv, .tsv or .parquet file, or a folder of train, dev and test; rows have"
        " prompt and completion, instruction and output, text and label, or messages",
    )
    group.add_argument("--method", help="method, such as lora, dora, ia3 or full (default: lora)")
    add_number(
        group, "--rank", RANK, metavar="R", help="rank of the method (default: 16 for LoRA and its relatives)"
    )
    add_number(group, "--epochs", whole(1, 10**6), metavar="N", help="passes over the rows (default: 3)")
    add_number(group, "--steps", COUNT, metavar="N", help="training steps, in place of epochs")
    add_number(
        group,
        "--rate",
        RATE,
        action="append",
        metavar="R",
        help="learning rate; if you repeat the option, the dev split chooses among the rates"
        " (default: the method's own)",
    )
    add_number(group, "--seed", SEED, metavar="N", help="seed of splits, weights and order (default: 0)")
    add_number(
        group,
        "--max-tokens",
        whole(2, 2**20),
        metavar="N",
        help="cut rows to N tokens (default: 512, or the base's context if that is shorter)",
    )
    group.add_argument(
        "--form",
        choices=("chat", "plain"),
        help="put prompts into the base's chat template, or leave them as they are (default: chat,"
        " if it has one)",
    )


def settle(arguments: argparse.Namespace) -> None:
    """Refuse options that do not go together; an override may stand where the config would."""
    given = [name for name in NAMES if getattr(arguments, name) is not None]
    spelled = ", ".join(f"--{name.replace('_', '-')}" for name in given)
    if arguments.config is not None and "=" in str(arguments.config):
        arguments.overrides.insert(0, str(arguments.config))
        arguments.config = None
    if arguments.config is not None and given:
        raise LoraJaxError(
            f"{arguments.config} is a config file, which says what {spelled} would: leave one of them out."
        )
    if arguments.config is None and (arguments.base is None or arguments.data is None):
        got = spelled if given else "nothing"
        raise LoraJaxError(f"finetune got {got}: give a config file, or --base and --data.")
    if arguments.epochs is not None and arguments.steps is not None:
        raise LoraJaxError("--epochs and --steps both say how long to train: leave one of them out.")


def load(arguments: argparse.Namespace) -> FinetuneExperiment:
    """Return the experiment that the options ask for, with `field=value` overrides laid over it."""
    from lora_jax.finetuning.one_line import Asked, make_experiment
    from lora_jax.finetuning.prepare import require_base

    require_base(arguments.base, say)
    asked = Asked(
        base=arguments.base,
        data=arguments.data,
        rank=arguments.rank,
        epochs=arguments.epochs,
        steps=arguments.steps,
        rates=tuple(arguments.rate or ()),
        max_tokens=arguments.max_tokens,
        form=arguments.form,
        method=arguments.method or "lora",
        seed=arguments.seed or 0,
    )
    return make_experiment(asked, arguments.overrides)


def spell(arguments: argparse.Namespace) -> list[str]:
    """Return the options as they were given, quoted for a shell."""
    words = []
    for name in NAMES:
        value = getattr(arguments, name)
        for one in value if isinstance(value, list) else [] if value is None else [value]:
            words += [f"--{name.replace('_', '-')}", shlex.quote(str(one))]
    return words


def print_splits(experiment: FinetuneExperiment, prepared: Prepared) -> None:
    """Print how many rows each split has."""
    from lora_jax.finetuning.one_line import describe_splits

    print(describe_splits(experiment.sweep, prepared.task))


def print_outcome(experiment: FinetuneExperiment, prepared: Prepared, store: RunStore, program: str) -> None:
    """Print the dev curve, completions before and after, and the commands that use the adapter."""
    from lora_jax.finetuning.config import finetune_id
    from lora_jax.finetuning.execute import choose_rates
    from lora_jax.finetuning.recording import adapter_path
    from lora_jax.finetuning.samples import write_samples
    from lora_jax.peft.checkpoint import load_adapter

    sweep = experiment.sweep
    for label, rate in choose_rates(sweep, prepared, store).items():
        run_id = finetune_id(sweep.run(label, rate, sweep.seeds[0]))
        path = adapter_path(store.folder, run_id)
        found = store.finished()[run_id].finetuning or {}
        print(f"\nDev split by step, learning rate {rate:g} (weights kept of step {found['kept_step']}):")
        for step, loss, score in found["dev_curve"]:
            beside = "" if found["metric"] == "loss" else f"  {found['metric']} {score:.4f}"
            print(f"  step {step:5d}  loss {loss:.4f}{beside}")
        prompt = None
        if prepared.task.kind == "generation":
            config, trainable = load_adapter(path, prepared.fingerprint, prepared.model)
            samples = write_samples(prepared, config, trainable, sweep.task.max_tokens)
            prompt = samples[0].prompt
            for sample in samples:
                print(f"\nPrompt: {_shorten(sample.prompt)}")
                for name in ("wanted", "before", "after"):
                    print(f"  {name:7s} {_shorten(getattr(sample, name))}")
        print("\nTo use the adapter:")
        for line in make_commands(prepared, path, store.folder, prompt, program):
            print(f"  {line}")


def make_commands(
    prepared: Prepared, adapter: Path, folder: Path, prompt: str | None, program: str
) -> list[str]:
    """Return two commands that use the adapter: of generate, merge and export the first that can."""
    from lora_jax.data.tasks.chat import Conversation
    from lora_jax.peft.checkpoint import load_adapter

    config, _ = load_adapter(adapter, prepared.fingerprint, prepared.model)
    lines = []
    if prompt is not None:
        is_chat = isinstance(prepared.task.dev[0].text, Conversation)
        words = [program, "generate", prepared.name, "--adapter", str(adapter), *(["--chat"] * is_chat)]
        lines.append(shlex.join([*words, "--prompt", prompt]))
    if config.build(prepared.model).merge is not None:
        lines.append(_use_adapter(program, "merge", adapter, prepared.name, folder / "merged"))
    if len(lines) < 2 and any((folder / "peft").glob("*/adapter_config.json")):  # peft has a form for it
        lines.append(_use_adapter(program, "export", adapter, prepared.name, folder / "for-peft"))
    return lines


def _use_adapter(program: str, command: str, adapter: Path, base: str, out: Path) -> str:
    return shlex.join([program, command, str(adapter), "--base", base, "--out", str(out)])


def _shorten(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= SHOWN else f"{flat[:SHOWN]} ..."
