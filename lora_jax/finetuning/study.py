"""A study of fine-tuning: bases by size, methods and set sizes, of which scaling laws are fitted."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lora_jax.config import DataConfig, ModelConfig, RunConfig, TaskConfig, run_id
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.finetuning.config import FinetuneSweep, TuneConfig
from lora_jax.peft.method import MethodConfig
from lora_jax.ranges import Count, Rate, Seed, check_fields


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A grid of one study: every base with every set size and every method, at rates and seeds of its own.

    In each cell of base, size and method the rates are tried with the first seed, and the best one by the dev
    split gets all seeds.

    Attributes:
        task: The task. Its n_train is replaced.
        n_train: Set sizes D_f, in examples; of text, in windows.
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
        """Return a sweep of the methods for each set size. base: the name of the base in the runs."""
        return [
            FinetuneSweep(
                base=base, task=replace(self.task, n_train=n), methods=self.methods, optim=self.optim,
                seeds=self.seeds, rates=self.rates,
            )
            for n in self.n_train
        ]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class FinetuneStudy:
    """Bases and arms.

    Attributes:
        bases: The bases by label. A RunConfig is pretrained by the study. A text is a packaged name, a
            Hugging Face folder or a hub id.
        arms: The grids.
        source: Text that the bases know, on whose held-out part forgetting is measured. None takes what each
            base was pretrained on, and measures nothing for a base that the study does not pretrain.
        pretraining_tokens: Tokens that a base which is not pretrained here was trained on, by label.
        shapes: Shapes of bases that need not be here yet, by label, from which a dry run prices them. A base
            that is loaded and has another number of parameters is refused.
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
        """Return what runs call a base: its run_id where the study pretrains it, which tells its config."""
        base = self.bases[label]
        return run_id(base) if isinstance(base, RunConfig) else base

    def tokens_of(self, label: str) -> int | None:
        """Return the tokens that a base was pretrained on; None where nobody said."""
        base = self.bases[label]
        return base.n_tokens if isinstance(base, RunConfig) else self.pretraining_tokens.get(label)

    def source_of(self, label: str) -> DataConfig | None:
        """Return the text on which forgetting of a base is measured."""
        base = self.bases[label]
        return self.source or (base.data if isinstance(base, RunConfig) else None)

    def sweeps_of(self, label: str) -> list[FinetuneSweep]:
        """Return the sweeps of one base over all arms."""
        name = self.name_of(label)
        arms = [arm for arm in self.arms if arm.bases is None or label in arm.bases]
        return [sweep for arm in arms for sweep in arm.sweeps(name)]
