"""A study of fine-tuning: bases of several sizes, methods and set sizes, to which scaling laws are fitted."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lora_jax.config import DataConfig, ModelConfig, RunConfig, TaskConfig, run_id
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.finetuning.config import FinetuneSweep, TuneConfig
from lora_jax.peft.method import MethodConfig
from lora_jax.ranges import Count, Rate, Seed, check_fields


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A grid of one study: every base with every set size and every method.

    In each cell of base, size and method the rates are tried with the first seed. The best one by the dev
    split gets all seeds.

    Attributes:
        task: The task. Its n_train is replaced.
        n_train: Set sizes D_f, in examples. For a task of text they count windows.
        methods: The methods, by label.
        optim: The optimizer.
        seeds: The seeds.
        rates: Learning rates to try, by label.
        bases: Labels of the bases. None takes all.
    """

    task: TaskConfig
    n_train: tuple[Count, ...]
    methods: dict[str, MethodConfig]
    optim: TuneConfig = field(default_factory=TuneConfig)
    seeds: tuple[Seed, ...] = (0, 1, 2)
    rates: dict[str, tuple[Rate, ...]] = field(default_factory=dict)
    bases: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.n_train:
            raise LoraJaxError("an arm of a study has no n_train: give it one set size at least.")

    def sweeps(self, base: str) -> list[FinetuneSweep]:
        """Return a sweep of the methods for each set size.

        Args:
            base: What the runs call the base.
        """
        return [
            FinetuneSweep(
                base=base,
                task=replace(self.task, n_train=n),
                methods=self.methods,
                optim=self.optim,
                seeds=self.seeds,
                rates=self.rates,
            )
            for n in self.n_train
        ]


@dataclass(frozen=True, kw_only=True)
class FinetuneStudy:
    """Bases, and grids of set sizes and methods on them.

    Attributes:
        bases: The bases by label. The study pretrains those given as a RunConfig. A string is a packaged
            name, a Hugging Face folder or a hub id.
        arms: The grids.
        source: Text that the bases know. Forgetting is measured on its held-out part. None takes what each
            base was pretrained on, and measures nothing for a base that the study does not pretrain.
        pretraining_tokens: By label, the tokens that a base was trained on if the study does not pretrain it.
        shapes: By label, shapes of bases that need not be here yet. A dry run prices them. If the base that
            is loaded has another number of parameters, it is refused.
    """

    bases: Mapping[str, RunConfig | str]
    arms: tuple[Arm, ...]
    source: DataConfig | None = None
    pretraining_tokens: Mapping[str, int] = field(default_factory=dict)
    shapes: Mapping[str, ModelConfig] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.bases or not self.arms:
            raise LoraJaxError("a study of fine-tuning needs at least one base and one arm: add them.")
        named = [(label, "arm") for arm in self.arms for label in arm.bases or ()]
        named += [(label, "pretraining_tokens") for label in self.pretraining_tokens]
        for label, where in [*named, *((label, "shapes") for label in self.shapes)]:
            if label not in self.bases:
                raise LoraJaxError(f"{where} names the base {label!r}{nearest(label, self.bases)}.")

    @property
    def ladder(self) -> list[RunConfig]:
        """The bases that the study pretrains."""
        return [base for base in self.bases.values() if isinstance(base, RunConfig)]

    def name_of(self, label: str) -> str:
        """Return what runs call a base.

        If the study pretrains it, this is its run_id, which identifies its config.
        """
        base = self.bases[label]
        return run_id(base) if isinstance(base, RunConfig) else base

    def tokens_of(self, label: str) -> int | None:
        """Return the number of tokens that a base was pretrained on. None if it is not known."""
        base = self.bases[label]
        return base.n_tokens if isinstance(base, RunConfig) else self.pretraining_tokens.get(label)

    def source_of(self, label: str) -> DataConfig | None:
        """Return the text on which forgetting of a base is measured. None measures none."""
        base = self.bases[label]
        return self.source or (base.data if isinstance(base, RunConfig) else None)

    def sweeps_of(self, label: str) -> list[FinetuneSweep]:
        """Return the sweeps of one base over all arms."""
        name = self.name_of(label)
        arms = [arm for arm in self.arms if arm.bases is None or label in arm.bases]
        return [sweep for arm in arms for sweep in arm.sweeps(name)]
