"""Which optimizers a configuration may name, and which fields of OptimConfig go together.

The rules of the optimizers are in training.
"""

from dataclasses import fields
from typing import Any, ClassVar, Protocol, runtime_checkable

from lora_jax.errors import LoraJaxError
from lora_jax.ranges import show

WARMUP_STEPS = 20  # optim.warmup_steps if the config does not set it
HORIZON_EXPONENT = 0.3  # exponent of the length in a rate's rule (marin's Delphi recipe)


@runtime_checkable
class OptimizerConfig(Protocol):
    """An optimizer's settings, as a frozen dataclass. Each file of training/optimizers/ has one.

    Attributes:
        kind: Its name, such as "muon". It is a field, so that no two optimizers share a run_id.
        takes_rate: Whether its rule needs the learning rate inside.
    """

    @property
    def kind(self) -> str: ...

    takes_rate: ClassVar[bool]

    def transform(self, specs: Any, scales: Any) -> Any: ...


def check_horizon(config: Any) -> None:
    """Refuse an exponent of the length without the length at which the rate holds.

    Raises:
        LoraJaxError: horizon_exponent is set without base_tokens.
    """
    if config.base_tokens is None and config.horizon_exponent != HORIZON_EXPONENT:
        raise LoraJaxError(
            f"optim.horizon_exponent is {config.horizon_exponent:g} and optim.base_tokens is not set: set it"
            " to the n_tokens at which optim.learning_rate is right, or leave both out."
        )


def check_warmup(config: Any) -> None:
    """Refuse a warmup that is given twice, in steps and as a share of them.

    Raises:
        LoraJaxError: Both are set.
    """
    if config.warmup_fraction is not None and config.warmup_steps != WARMUP_STEPS:
        raise LoraJaxError(
            f"optim.warmup_fraction is {config.warmup_fraction:g} and optim.warmup_steps is"
            f" {config.warmup_steps}: give one of them."
        )


def check_optimizer(config: Any) -> None:
    """Refuse what is no optimizer, and AdamW's own settings beside another optimizer.

    Raises:
        LoraJaxError: optimizer is no optimizer, or beta1, beta2 or eps are set beside it.
    """
    optimizer = config.optimizer
    if optimizer is None:
        return
    if isinstance(optimizer, type) or not isinstance(optimizer, OptimizerConfig):
        raise LoraJaxError(
            f"optim.optimizer is {show(optimizer)}, but it must be an optimizer with its numbers, such as"
            " Muon() of lora_jax.training.optimizers: change it."
        )
    for field in fields(config):
        if field.name in ("beta1", "beta2", "eps") and getattr(config, field.name) != field.default:
            raise LoraJaxError(
                f"optim.{field.name} is {show(getattr(config, field.name))} beside optim.optimizer"
                f" {optimizer.kind}, which has numbers of its own: put it there, or leave it out."
            )


def check_schedule(config: Any) -> None:
    """Refuse a cooldown without wsd, and a falling rate for an optimizer that averages weights.

    Raises:
        LoraJaxError: The schedule does not fit the cooldown or the optimizer.
    """
    if config.cooldown != "1-sqrt" and config.schedule != "wsd":
        raise LoraJaxError(
            f"optim.cooldown is {config.cooldown!r} and optim.schedule is {config.schedule!r}, which has no"
            " cooldown: set the schedule to 'wsd', or leave the cooldown out."
        )
    optimizer = config.optimizer
    if optimizer is not None and optimizer.takes_rate and config.schedule != "constant":
        raise LoraJaxError(
            f"optim.optimizer is {optimizer.kind}, which averages the weights in place of lowering the rate,"
            f" and optim.schedule is {config.schedule!r}: set it to 'constant'."
        )


def check_parts(batch_size: int, accumulate: int) -> None:
    """Refuse a batch that cannot be cut into equal parts.

    Raises:
        LoraJaxError: batch_size is not a multiple of accumulate.
    """
    if batch_size % accumulate:
        raise LoraJaxError(
            f"optim.batch_size is {batch_size} and optim.accumulate is {accumulate}: batch_size must be a"
            " multiple of accumulate, change one of them."
        )
