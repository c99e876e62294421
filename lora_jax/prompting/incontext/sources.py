"""The examples of every run: a task prepared once for each base, and the rows that a draw deals from it."""

from collections.abc import Callable
from dataclasses import replace

from lora_jax.config import digest, to_dict
from lora_jax.data.tasks import Example, encode_classification, encode_generation, load_task
from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.prepare import Prepared, prepare, require_base
from lora_jax.prompting.incontext.config import InContextConfig, TaskPlan
from lora_jax.prompting.shots import Shots, draw_shots

Say = Callable[[str], None]


class Sources:
    """Bases and tasks. Each is loaded when it is first asked for, and then kept.

    Args:
        config: The comparison.
        say: Called with a line about what is loaded.
    """

    def __init__(self, config: InContextConfig, say: Say) -> None:
        self._config, self._say = config, say
        self._known: dict[tuple[str, str, bool], Prepared] = {}
        self._heard: set[str] = set()

    def open_all(self) -> None:
        """Read every task and look for every base, before the first base is loaded.

        Raises:
            LoraJaxError: A task or a base is missing.
        """
        asked = [
            (plan.base, task, getattr(plan, "head", False))
            for plan in (*self._config.shots, *self._config.tunings)
            for task in self._config.tasks_of(plan).values()
        ]
        for settings in dict.fromkeys(
            task.as_classification() if head else task.as_generation() for _, task, head in asked
        ):
            load_task(settings)
        for base in dict.fromkeys(base for base, _, _ in asked):
            require_base(base, self._say_once)

    def get(self, base: str, label: str, head: bool = False) -> Prepared:
        """Return a task with its whole pool, as words or for a classification head.

        Args:
            base: The base.
            label: Label of the task.
            head: Whether it is for a classification head.

        Raises:
            LoraJaxError: The task or the base is missing.
        """
        key = (base, label, head)
        if key not in self._known:
            plan = self._config.tasks[label]
            task = plan.as_classification() if head else plan.as_generation()
            beside = self._find_beside(base, head)
            found = prepare(base, task, self._say_once, beside)
            if beside is not None and found.model.n_classes not in (None, len(found.task.labels)):
                # with another number of classes it needs weights of its own
                found = prepare(base, task, self._say_once)
            self._known[key] = found
        return self._known[key]

    def get_any(self, base: str) -> Prepared:
        """Return a task of this base. If some are loaded already, return one of them."""
        known = [found for (name, _, head), found in self._known.items() if name == base and not head]
        return known[0] if known else self.get(base, next(iter(self._config.tasks)))

    def _find_beside(self, base: str, head: bool) -> Prepared | None:
        return next(
            (found for (name, _, kind), found in self._known.items() if (name, kind) == (base, head)), None
        )

    def _say_once(self, line: str) -> None:
        if line not in self._heard:
            self._heard.add(line)
            self._say(line)

    def fingerprints(self) -> dict[str, str]:
        """Return a hash of what every task and base held, by a hash of the task's settings."""
        return {
            digest([base, label, head, to_dict(self._config.tasks[label])]): digest(
                [found.task.fingerprint, found.fingerprint]
            )
            for (base, label, head), found in self._known.items()
        }


def deal(prepared: Prepared, n: int | None, draw: int) -> tuple[Example, ...]:
    """Return the first n examples of a draw's deal, balanced by label and shuffled. None is the whole pool.

    A smaller n is a subset of a larger one, and k shots are the first k.

    Raises:
        LoraJaxError: The pool, or a label in it, has fewer examples.
    """
    if n is None:
        return prepared.task.train
    return draw_shots(prepared.task.train, Shots(n, balanced=True, seed=draw), len(prepared.task.labels))


def count_rows(prepared: Prepared, n: int | None) -> int:
    """Return how many examples n stands for.

    Raises:
        LoraJaxError: The pool has fewer.
    """
    n_pool = len(prepared.task.train)
    if n is not None and n > n_pool:
        raise LoraJaxError(
            f"n_train holds {n} and the training pool of {prepared.task.name} has {n_pool} examples: lower"
            " it, or raise n_pool."
        )
    return n_pool if n is None else n


def narrow(prepared: Prepared, plan: TaskPlan, n: int | None, draw: int) -> Prepared:
    """Return the task with a draw's n training examples. Its dev and test splits stay as they are."""
    if n is None:
        return prepared
    examples = deal(prepared, n, draw)
    tokenizer, labels = prepared.pretrained.tokenizer, prepared.task.labels
    if prepared.task.kind == "generation":
        train = encode_generation(examples, tokenizer, plan.max_tokens)
    else:
        train = encode_classification(examples, tokenizer, plan.max_tokens, len(labels))
    return replace(prepared, task=replace(prepared.task, train=examples), train=train)
