"""What a study costs. It can be priced before any of its bases exists."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from lora_jax.config import ModelConfig, RunConfig
from lora_jax.data.tasks.text import is_text
from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.config import FinetuneSweep
from lora_jax.finetuning.recording import price
from lora_jax.finetuning.study import FinetuneStudy
from lora_jax.huggingface.pretrained import load_pretrained
from lora_jax.layout import draw
from lora_jax.model.declare import count_parameters
from lora_jax.runs.plan_table import format_seconds


@dataclass(frozen=True)
class BasePrice:
    """The most that the fine-tuning runs of one base can cost.

    The first seed at the best rate is not trained twice.

    Attributes:
        label: The base.
        n_params: Its parameters without embeddings.
        n_runs: Number of runs.
        n_tokens: Tokens of all runs together. In labelled tasks every example counts with its largest length.
        flops: FLOPs of all runs together.
    """

    label: str
    n_params: int
    n_runs: int
    n_tokens: float
    flops: float


def price_study(study: FinetuneStudy) -> list[BasePrice]:
    """Return what the runs of each base cost.

    Raises:
        LoraJaxError: A method or a task's length does not fit a base.
    """
    found = []
    for label, base in study.bases.items():
        model = base.model if isinstance(base, RunConfig) else _shape_of(study, label, base)
        n_runs, n_tokens, flops = 0, 0.0, 0.0
        for sweep in study.sweeps_of(label):
            _check_length(sweep, model, label)
            tokens, length = _tokens_of_run(sweep)
            for name, method in sweep.methods.items():
                n = len(sweep.rates_of(name)) + len(sweep.seeds) - 1
                n_runs, n_tokens = n_runs + n, n_tokens + n * tokens
                flops += n * tokens * price(model, method, length)
        n_params = count_parameters(model).non_embedding
        found.append(BasePrice(label, n_params, n_runs, n_tokens, flops))
    return found


def _shape_of(study: FinetuneStudy, label: str, base: str) -> ModelConfig:
    """Return the shape of a base that the study does not pretrain."""
    return study.shapes[label] if label in study.shapes else load_pretrained(base).config


def _check_length(sweep: FinetuneSweep, model: ModelConfig, label: str) -> None:
    if sweep.task.max_tokens > model.context:
        raise LoraJaxError(
            f"task.max_tokens is {sweep.task.max_tokens} and the context of the base {label!r} is"
            f" {model.context}: lower it."
        )


def _tokens_of_run(sweep: FinetuneSweep) -> tuple[float, int]:
    """Return the tokens that a run trains on, and the tokens of one example."""
    task, optim = sweep.task, sweep.optim
    assert task.n_train is not None  # an arm gives it
    length = task.max_tokens - 1 if is_text(task) else task.max_tokens
    steps = optim.steps or optim.epochs * ceil(task.n_train / optim.batch_size)
    return float(steps * optim.batch_size * length), length


def format_price(prices: Sequence[BasePrice], flops_per_second: float, basis: str) -> str:
    """Return the prices as a table, with the time that they take at a given speed.

    Args:
        prices: The prices.
        flops_per_second: The speed.
        basis: Where the speed comes from, in words.
    """
    rows = [
        (
            one.label,
            f"{one.n_params:,}",
            f"{one.n_runs:,}",
            f"{one.n_tokens:.2e}",
            f"{one.flops:.2e}",
            format_seconds(one.flops / flops_per_second),
        )
        for one in prices
    ]
    table = draw(("base", "N", "runs", "tokens", "FLOPs", "time"), rows, {1, 2, 3, 4, 5})
    total = sum(one.flops for one in prices)
    n_runs = sum(one.n_runs for one in prices)
    line = (
        f"At most {n_runs:,} fine-tuning runs, {total:.2e} FLOPs, about"
        f" {format_seconds(total / flops_per_second)}. Estimates: {basis}."
    )
    return "\n".join([*table, "", line])
