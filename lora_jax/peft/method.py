"""What an adaptation method is: pure functions, in the style of an optax transformation.

The life of one: `adapted = adapt(base, method, seed)` gives (trainable, frozen), which share no path;
`forward(model, combine(trainable, frozen), inputs, method.hooks, key)` is the adapted model; gradients,
optimizer and checkpoints see `trainable` alone; `merge(...)` folds it back into a tree of the base's shape.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from lora_jax.config import ModelConfig
from lora_jax.model.hooks import NO_HOOKS, Hooks
from lora_jax.model.stacks import split_blocks
from lora_jax.params import Params, Spec, Specs, init, partition


class Method(NamedTuple):
    """A method, built for one model: the weights it adds, the hooks, what trains, how it merges.

    specs: every weight of the adapted model, the base's (with n_top blocks in a stack of their own) and
    those that the method adds. trainable: the paths that train. start: (base, seed) -> the base's weights,
    changed where the method moves a part of them into its own (PiSSA), and the added ones. merge: adapted
    weights -> weights of the base's paths and shapes that give the same function without hooks; None where
    there are none. rates: the learning rate of a path relative to the run's, 1 where absent (LoRA+). scales:
    of low-rank updates, s by target: the hooks take it from the weights where these hold it
    (`low_rank.SCALE`).
    """

    specs: Specs
    trainable: frozenset[str]
    hooks: Hooks = NO_HOOKS
    start: Callable[[Params, int], tuple[Params, Params]] | None = None  # None: as the specs say
    merge: Callable[[Params], Params] | None = None
    n_top: int = 0  # blocks that are a stack of their own, for methods that leave the lower ones alone
    rates: Mapping[str, float] = {}
    scales: Mapping[str, float] = {}


@runtime_checkable
class MethodConfig(Protocol):
    """A method's numbers, as a frozen dataclass; each file of methods/ has one or more.

    One that has AS_DATA, fields and values, computes the same program whatever these fields are, on weights
    of other ranks, starts and scales: with these values it stands for all of them (`peft.stacking`).
    """

    def build(self, model: ModelConfig) -> Method:
        """Return the method for a model; raises LoraJaxError where it does not fit."""
        ...


class Adapted(NamedTuple):
    """An adapted model's weights: two trees that share no path."""

    trainable: Params
    frozen: Params


HEAD = "classifier"  # it is new, so that every method trains it; the pooler before it is the base's


def task_head(specs: Mapping[str, Spec]) -> frozenset[str]:
    """Return the paths of a classifier's head, which every method trains: empty for a language model."""
    return frozenset(path for path in specs if path.startswith(HEAD))


def adapt(base: Params, method: Method, seed: int) -> Adapted:
    """Return (trainable, frozen) of a base model, new weights drawn from the seed by their paths."""
    return start(split_blocks(base, method.n_top), method, seed)


def start(base: Params, method: Method, seed: int) -> Adapted:
    """Return (trainable, frozen) of a base whose upper blocks are a stack already, as `adapt` does."""
    if method.start is None:
        added = init({path: spec for path, spec in method.specs.items() if path not in base}, seed)
    else:
        base, added = method.start(base, seed)
    trainable, frozen = partition({**base, **added}, method.trainable.__contains__)
    # Adam loses half of its steps to rounding where the weights it moves are in bfloat16.
    return Adapted({path: weight.astype("float32") for path, weight in trainable.items()}, frozen)
