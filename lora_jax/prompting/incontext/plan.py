"""The runs of a comparison, in the order in which they are made, and what each costs."""

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

FORWARD_SHARE = 1 / 3  # of the FLOPs of training on a token: the forward pass alone


@dataclass(frozen=True)
class ShotRun:
    """One set of demonstrations to be scored."""

    base: str
    label: str  # of the task
    task: TaskPlan
    k: int
    draw: int

    @property
    def prompt(self) -> Prompt:
        return self.task.asked

    def to_dict(self) -> dict[str, Any]:
        task = to_dict(self.task) | {"prompt": to_dict(self.prompt)}
        return {"base": self.base, "label": self.label, "task": task, "k": self.k, "draw": self.draw}

    @property
    def run_id(self) -> str:
        name = "".join(c if c.isalnum() else "-" for c in self.label.lower())
        return shorten_id(name, f"k{self.k}-s{self.draw}-{digest(self.to_dict())}")


@dataclass(frozen=True)
class TuneRunPlan:
    """One fine-tuning run: of which task and plan, on how many examples."""

    config: FinetuneConfig
    label: str  # of the task
    plan: TunePlan
    n: int | None

    @property
    def draw(self) -> int:
        return self.config.seed

    @property
    def run_id(self) -> str:
        return finetune_id(self.config)

    @property
    def has_rivals(self) -> bool:
        """Are other rates tried?"""
        return len(self.plan.rates_of(self.config.label)) > 1


@dataclass(frozen=True)
class Planned:
    """A run with its costs, for the bar (`runs.progress.Planned`)."""

    what: ShotRun | TuneRunPlan
    run: Any  # hashable: the ShotRun, or the FinetuneConfig that training reports by
    run_id: str
    n_steps: int
    own_tokens: int
    seconds: float
    finished: bool
    description: str


def list_shots(config: InContextConfig) -> Iterator[ShotRun]:
    """Return every set of demonstrations once; without any there is nothing to draw."""
    for plan in config.shots:
        for label, task in config.tasks_of(plan).items():
            for k in plan.ks:
                for draw in plan.draws if k else plan.draws[:1]:
                    yield ShotRun(plan.base, label, task, k, draw)


def list_tunings(config: InContextConfig, sources: Sources) -> Iterator[TuneRunPlan]:
    """Return every fine-tuning run that the comparison may come to, once: all rates with all draws.

    Of all examples there is one deal, and draws are seeds alone.
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
    """Refuse what cannot be dealt, before anything is run: more examples than the pool or a label has.

    And before a base is loaded, a task or a base that is not there.
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
    """Return the prompts with their tokens: the demonstrations once, every question once."""
    speed, planned = present_speed(), []
    for run in runs:
        prepared = sources.get(run.base, run.label)
        n_tokens = int(prepared.test.lengths_N.sum()) + run.k * prepared.mean_length
        seconds = FORWARD_SHARE * n_tokens * _full_price(prepared.model, prepared.mean_length) / speed
        words = f"{run.label} {run.k}-shot draw {run.draw}"
        planned.append(Planned(run, run, run.run_id, 1, n_tokens, seconds, run.run_id in finished, words))
    return planned


def price_tunings(runs: Iterable[TuneRunPlan], sources: Sources, finished: set[str]) -> list[Planned]:
    """Return fine-tuning runs with their steps; the time is that of the steps and of the splits' scores."""
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
