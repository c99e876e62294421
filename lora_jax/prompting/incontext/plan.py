"""The runs of a comparison, in the order in which they are made, and the cost of each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lora_jax.config import ModelConfig, digest, to_dict
from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.config import FinetuneConfig, finetune_id
from lora_jax.finetuning.recording import price
from lora_jax.names import shorten_id
from lora_jax.peft.methods.subset import Full
from lora_jax.prompting.incontext.config import InContextConfig, TaskPlan, TunePlan
from lora_jax.prompting.incontext.sources import Sources, count_rows, deal
from lora_jax.prompting.prompt import Prompt
from lora_jax.runs.machine import present_speed

FORWARD_SHARE = 1 / 3  # share of the forward pass in the FLOPs of training on a token


@dataclass(frozen=True)
class ShotRun:
    """One set of demonstrations to be scored.

    Attributes:
        base: The base.
        label: Label of the task.
        task: The task.
        k: Number of examples in a prompt.
        draw: Seed of the examples.
    """

    base: str
    label: str
    task: TaskPlan
    k: int
    draw: int

    @property
    def prompt(self) -> Prompt:
        """The prompt."""
        return self.task.asked

    def to_dict(self) -> dict[str, Any]:
        """Return what identifies the run, ready for JSON."""
        task = to_dict(self.task) | {"prompt": to_dict(self.prompt)}
        return {"base": self.base, "label": self.label, "task": task, "k": self.k, "draw": self.draw}

    @property
    def run_id(self) -> str:
        """The run's name."""
        name = "".join(c if c.isalnum() else "-" for c in self.label.lower())
        return shorten_id(name, f"k{self.k}-s{self.draw}-{digest(self.to_dict())}")


@dataclass(frozen=True)
class TuneRunPlan:
    """One fine-tuning run.

    Attributes:
        config: The run.
        label: Label of the task.
        plan: The plan that it belongs to.
        n: Number of training examples. None is the whole pool.
    """

    config: FinetuneConfig
    label: str
    plan: TunePlan
    n: int | None

    @property
    def draw(self) -> int:
        """Seed of the examples, and seed of the run."""
        return self.config.seed

    @property
    def run_id(self) -> str:
        """The run's name."""
        return finetune_id(self.config)

    @property
    def has_rivals(self) -> bool:
        """Whether the plan tries other rates too."""
        return len(self.plan.rates_of(self.config.label)) > 1


@dataclass(frozen=True)
class Planned:
    """A run with its costs, for the progress bar (`runs.progress.Planned`).

    Attributes:
        what: The run.
        run: What training reports by: the ShotRun, or the FinetuneConfig. It is hashable.
        run_id: The run's name.
        n_steps: Its steps.
        own_tokens: Its tokens.
        seconds: The time that we estimate.
        finished: Whether it has its record.
        description: The run in words.
    """

    what: ShotRun | TuneRunPlan
    run: Any
    run_id: str
    n_steps: int
    own_tokens: int
    seconds: float
    finished: bool
    description: str


def list_shots(config: InContextConfig) -> Iterator[ShotRun]:
    """Return every set of demonstrations once. With k = 0 there is nothing to draw, so one draw is enough."""
    for plan in config.shots:
        for label, task in config.tasks_of(plan).items():
            for k in plan.ks:
                for draw in plan.draws if k else plan.draws[:1]:
                    yield ShotRun(plan.base, label, task, k, draw)


def list_tunings(config: InContextConfig, sources: Sources) -> Iterator[TuneRunPlan]:
    """Return every fine-tuning run that the comparison may need, once: all rates with all draws.

    With the whole pool there is one deal. The draws are then only seeds.
    """
    seen: set[FinetuneConfig] = set()
    for plan in config.tunings:
        for label, task in config.tasks_of(plan).items():
            prepared = sources.get(plan.base, label, plan.head)
            settings = task.as_classification() if plan.head else task.as_generation()
            for n in plan.n_train:
                n_rows = count_rows(prepared, n)
                for method in plan.methods:
                    for rate in plan.rates_of(method):
                        for draw in plan.draws:
                            run = plan.run(settings, n, n_rows, method, rate, draw)
                            if run not in seen:  # two plans may share a cell
                                seen.add(run)
                                yield TuneRunPlan(run, label, plan, n)


def check(config: InContextConfig, sources: Sources) -> None:
    """Refuse what cannot be dealt, before anything runs: more examples than the pool or a label has.

    A missing task or base is refused before the first base is loaded.

    Raises:
        LoraJaxError: Something cannot be dealt, or is missing, or a base predicts no words.
    """
    sources.open_all()
    for run in list_shots(config):
        prepared = sources.get(run.base, run.label)
        if not prepared.model.has_lm_head:
            raise LoraJaxError(
                f"{run.base} predicts no words that could answer a prompt: give shots a decoder, as smollm2."
            )
        deal(prepared, run.k, run.draw)
    for run in list_tunings(config, sources):
        deal(sources.get(run.plan.base, run.label, run.plan.head), run.n, run.draw)


def price_shots(runs: Iterable[ShotRun], sources: Sources, finished: set[str]) -> list[Planned]:
    """Return the prompts with their costs.

    The model reads the demonstrations once, and every question once.
    """
    speed, planned = present_speed(), []
    for run in runs:
        prepared = sources.get(run.base, run.label)
        n_tokens = int(prepared.test.lengths_N.sum()) + run.k * prepared.mean_length
        seconds = FORWARD_SHARE * n_tokens * _full_price(prepared.model, prepared.mean_length) / speed
        words = f"{run.label} {run.k}-shot draw {run.draw}"
        planned.append(Planned(run, run, run.run_id, 1, n_tokens, seconds, run.run_id in finished, words))
    return planned


def price_tunings(runs: Iterable[TuneRunPlan], sources: Sources, finished: set[str]) -> list[Planned]:
    """Return the fine-tuning runs with their steps.

    The time covers the steps and the scores of the splits.
    """
    speed, planned = present_speed(), []
    for run in runs:
        prepared = sources.get(run.plan.base, run.label, run.plan.head)
        n_rows = count_rows(prepared, run.n)
        n_steps = run.config.optim.epochs * -(-n_rows // run.config.optim.batch_size)
        trained = run.config.optim.epochs * n_rows * prepared.mean_length
        scored = run.config.optim.evaluations * int(prepared.dev.lengths_N.sum())
        scored += int(prepared.test.lengths_N.sum())
        flops = trained * price(prepared.model, run.config.method, prepared.mean_length)
        flops += FORWARD_SHARE * scored * _full_price(prepared.model, prepared.mean_length)
        words = f"{run.label} {run.config.label} n {n_rows} draw {run.draw}"
        planned.append(
            Planned(
                run, run.config, run.run_id, n_steps, trained, flops / speed, run.run_id in finished, words
            )
        )
    return planned


@lru_cache
def _full_price(model: ModelConfig, seq_len: int) -> float:
    return price(model, Full(), seq_len)
