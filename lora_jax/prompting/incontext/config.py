"""What to compare: tasks, k-shot prompts, fine-tuning on several numbers of examples, gradients' costs.

The examples of draw d are one deal, balanced by label. k shots are the first k of it, and fine-tuning at n
trains on the first n. So both learn from the same examples.
"""

from dataclasses import dataclass, field, replace
from typing import Annotated, TypeVar

from lora_jax.config import TaskConfig
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.finetuning.config import FinetuneConfig, TuneConfig, default_rates
from lora_jax.peft.method import MethodConfig
from lora_jax.prompting.prompt import Prompt, find_prompt
from lora_jax.ranges import Batch, Count, Length, Rate, Seed, check_fields, whole

OPTIM = TuneConfig(batch_size=8, epochs=2, evaluations=1)


@dataclass(frozen=True, kw_only=True)
class TaskPlan:
    """A task with labels.

    Attributes:
        name: As `TaskConfig.name`.
        prompt: The prompt. None takes the built-in one.
        n_pool: Training rows that examples are drawn from. None takes all.
        n_dev: Dev examples. They choose learning rates and weights, but nothing about the prompts.
        n_test: Test examples, the same for everything that is compared.
        max_tokens: Largest number of tokens of an example in fine-tuning.
    """

    name: str
    prompt: Prompt | None = None
    n_pool: Count | None = None
    n_dev: Count | None = 100
    n_test: Count | None = None
    max_tokens: Annotated[int, whole(2, 2**20)] = 128

    def __post_init__(self) -> None:
        check_fields(self, "tasks")

    @property
    def asked(self) -> Prompt:
        """The prompt.

        Raises:
            LoraJaxError: It lets the model generate text instead of comparing labels.
        """
        found = find_prompt(self.name) if self.prompt is None else self.prompt
        if found.scorer != "likelihood":
            raise LoraJaxError(
                f"The prompt of {self.name!r} lets the model generate, and here the likelihood of labels is"
                " compared: choose a task with labels, such as sst2 or rte."
            )
        return found

    def as_classification(self) -> TaskConfig:
        """Return the task for a classification head, with the whole pool."""
        return TaskConfig(
            name=self.name,
            n_train=self.n_pool,
            n_dev=self.n_dev,
            n_test=self.n_test,
            max_tokens=self.max_tokens,
        )

    def as_generation(self) -> TaskConfig:
        """Return the task as next-word prediction by its prompt, with the whole pool."""
        prompt = self.asked
        return replace(self.as_classification(), template=prompt.template, answers=prompt.answers)


@dataclass(frozen=True, kw_only=True)
class ShotPlan:
    """k-shot prompts of a language model, scored with and without calibration.

    Attributes:
        base: The base.
        ks: Numbers of examples in a prompt.
        draws: Seeds of the examples and their order. k = 0 needs one only.
        tasks: Labels of the tasks. None takes all.
        batch_size: Questions in a call.
    """

    base: str
    ks: tuple[Annotated[int, whole(0, 10**6)], ...] = (0, 1, 2, 4, 8, 16, 32)
    draws: tuple[Seed, ...] = (0, 1, 2)
    tasks: tuple[str, ...] | None = None
    batch_size: Batch = 16

    def __post_init__(self) -> None:
        check_fields(self, "shots")
        if not self.ks or not self.draws:
            raise LoraJaxError("A shot plan needs at least one k and one draw: add them.")


@dataclass(frozen=True, kw_only=True)
class TunePlan:
    """Fine-tuning of a base by several methods, each with several numbers of examples.

    The number of steps does not shrink with the number of examples. There are `optim.epochs` epochs, or more
    until there are `n_steps` steps.

    Attributes:
        base: The base.
        head: Whether to put a new classification head on top. Otherwise the model predicts the answers' words
            after the prompt.
        methods: The methods, by label.
        n_train: Numbers of training examples. None takes the whole pool.
        draws: Seeds of the examples.
        tasks: Labels of the tasks. None takes all.
        optim: The optimizer.
        n_steps: Smallest number of steps.
        rates: Learning rates by label. If a method has several, the dev split chooses among them with the
            first draw, for each number of examples. A method without any takes `default_rates`.
    """

    base: str
    head: bool = False
    methods: dict[str, MethodConfig]
    n_train: tuple[Count | None, ...]
    draws: tuple[Seed, ...] = (0, 1)
    tasks: tuple[str, ...] | None = None
    optim: TuneConfig = OPTIM
    n_steps: Count = 40
    rates: dict[str, tuple[Rate, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self, "tunings")
        if not self.methods or not self.n_train or not self.draws:
            raise LoraJaxError(f"The tune plan of {self.base!r} needs a method, an n and a draw: add them.")
        for label in self.rates:
            if label not in self.methods:
                raise LoraJaxError(f"rates names the method {label!r}{nearest(label, self.methods)}.")

    def rates_of(self, label: str) -> tuple[float, ...]:
        """Return the learning rates of a method."""
        return self.rates.get(label, default_rates(self.methods[label]))

    def run(
        self, task: TaskConfig, n: int | None, n_rows: int, label: str, rate: float, draw: int
    ) -> FinetuneConfig:
        """Return one run.

        Args:
            task: The task.
            n: Number of training examples. None takes the whole pool.
            n_rows: How many examples `n` stands for.
            label: Label of the method.
            rate: The learning rate.
            draw: Seed of the examples, and seed of the run.
        """
        per_epoch = -(-n_rows // self.optim.batch_size)
        epochs = max(self.optim.epochs, -(-self.n_steps // per_epoch))
        return FinetuneConfig(
            base=self.base,
            task=replace(task, n_train=n),
            method=self.methods[label],
            label=label,
            optim=replace(self.optim, learning_rate=rate, epochs=epochs),
            seed=draw,
        )


Plan = TypeVar("Plan", ShotPlan, TunePlan)


@dataclass(frozen=True, kw_only=True)
class BackwardPlan:
    """A measurement of what a gradient costs beside a forward pass, on a batch of random tokens.

    Attributes:
        base: The base.
        methods: The methods, by label.
        batch_size: Sequences in the batch.
        seq_len: Tokens in a sequence.
        repeats: Number of rounds.
    """

    base: str
    methods: dict[str, MethodConfig]
    batch_size: Batch = 8
    seq_len: Length = 64
    repeats: Annotated[int, whole(1, 10_000)] = 7

    def __post_init__(self) -> None:
        check_fields(self, "backward")


@dataclass(frozen=True, kw_only=True)
class InContextConfig:
    """The whole comparison.

    Attributes:
        tasks: The tasks by label, such as "SST-2".
        shots: The prompts.
        tunings: The fine-tuning.
        backward: The cost of a gradient. None does not measure it.

    Raises:
        LoraJaxError: There is no task, a plan names an unknown one, or a pool has fewer examples than a
            prompt.
    """

    tasks: dict[str, TaskPlan]
    shots: tuple[ShotPlan, ...] = ()
    tunings: tuple[TunePlan, ...] = ()
    backward: BackwardPlan | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.tasks:
            raise LoraJaxError("The comparison has no task: add one.")
        for plan in (*self.shots, *self.tunings):
            for label in plan.tasks or ():
                if label not in self.tasks:
                    raise LoraJaxError(f"a plan names the task {label!r}{nearest(label, self.tasks)}.")
        for label, task in self.tasks.items():
            for k in (k for plan in self.shots for k in plan.ks):
                if task.n_pool is not None and k > task.n_pool:
                    raise LoraJaxError(
                        f"ks holds {k} and the training pool of {label} has {task.n_pool} examples: lower it,"
                        " or raise n_pool."
                    )

    def tasks_of(self, plan: ShotPlan | TunePlan) -> dict[str, TaskPlan]:
        """Return the tasks of a plan, by label."""
        return {
            label: task for label, task in self.tasks.items() if plan.tasks is None or label in plan.tasks
        }

    def only(self, labels: tuple[str, ...]) -> "InContextConfig":
        """Return the comparison on some of its tasks.

        Raises:
            LoraJaxError: A task is unknown.
        """
        for label in labels:
            if label not in self.tasks:
                raise LoraJaxError(f"the comparison has no task {label!r}{nearest(label, self.tasks)}.")
        kept = {label: task for label, task in self.tasks.items() if label in labels}

        def cut(plan: Plan) -> Plan:
            return replace(plan, tasks=tuple(x for x in plan.tasks if x in kept)) if plan.tasks else plan

        return replace(
            self, tasks=kept, shots=tuple(map(cut, self.shots)), tunings=tuple(map(cut, self.tunings))
        )
