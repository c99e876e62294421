"""What an adaptation method is: pure functions, in the style of an optax transformation.

`adapted = adapt(base, method, seed)` gives (trainable, frozen), which share no path. The adapted model is
`forward(model, combine(trainable, frozen), inputs, method.hooks, key)`. Gradients, optimizer and checkpoints
see only `trainable`. `merge(...)` folds it back into a tree of the base's shape.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from lora_jax.config import ModelConfig
from lora_jax.model.hooks import NO_HOOKS, Hooks
from lora_jax.model.stacks import split_blocks
from lora_jax.params import Params, Spec, Specs, init, partition


class Method(NamedTuple):
    """A method that was built for one model: the weights it adds, its hooks, what trains, how it merges.

    Attributes:
        specs: Every weight of the adapted model: those of the base and those that the method adds. The top
            `n_top` blocks of the base are a stack of their own.
        trainable: Paths of the weights that train.
        hooks: What the method changes in the forward pass.
        start: Maps (base, seed) to the weights of the base and the added weights. A method needs it if it
            moves part of the base into its own weights (PiSSA). None draws the added weights from their
            specs.
        merge: Maps adapted weights to plain ones, with the paths and shapes of the base, that compute the
            same function without hooks. None if there are none.
        n_top: Number of blocks in the stack of their own.
        rates: Learning rate of a path relative to the run's, 1 if absent (LoRA+).
        scales: Scale s of the low-rank update of each target. If the weights hold the scale
            (`low_rank.SCALE`), the hooks take it from there.
    """

    specs: Specs
    trainable: frozenset[str]
    hooks: Hooks = NO_HOOKS
    start: Callable[[Params, int], tuple[Params, Params]] | None = None
    merge: Callable[[Params], Params] | None = None
    n_top: int = 0
    rates: Mapping[str, float] = {}
    scales: Mapping[str, float] = {}


@runtime_checkable
class MethodConfig(Protocol):
    """A method's settings, as a frozen dataclass. Each file of methods/ has one or more.

    A class may have AS_DATA, a dictionary of fields and values. It then computes the same program whatever
    these fields are, only on weights with other ranks, starts and scales. With the values of AS_DATA it
    stands for all of them (`peft.stacking`).
    """

    def build(self, model: ModelConfig) -> Method:
        """Return the method for a model.

        Raises:
            LoraJaxError: The method does not fit the model.
        """
        ...


class Adapted(NamedTuple):
    """The weights of an adapted model, as two trees that share no path.

    Attributes:
        trainable: The weights that train.
        frozen: All other weights.
    """

    trainable: Params
    frozen: Params


HEAD = "classifier"  # the head is new, so every method trains it; the pooler before it belongs to the base


def task_head(specs: Mapping[str, Spec]) -> frozenset[str]:
    """Return the paths of a classifier's head, which every method trains. A language model has none."""
    return frozenset(path for path in specs if path.startswith(HEAD))


def adapt(base: Params, method: Method, seed: int) -> Adapted:
    """Put a method on a base model.

    Args:
        base: The weights of the base.
        method: The method, built for this model.
        seed: Seed of the new weights. Each depends only on the seed and its path.

    Returns:
        The weights that train and the frozen ones.
    """
    return start(split_blocks(base, method.n_top), method, seed)


def start(base: Params, method: Method, seed: int) -> Adapted:
    """Put a method on a base whose upper blocks are a stack already.

    Args:
        base: The weights of the base.
        method: The method, built for this model.
        seed: Seed of the new weights. Each depends only on the seed and its path.

    Returns:
        The weights that train, in float32, and the frozen ones.
    """
    if method.start is None:
        added = init({path: spec for path, spec in method.specs.items() if path not in base}, seed)
    else:
        base, added = method.start(base, seed)
    trainable, frozen = partition({**base, **added}, method.trainable.__contains__)
    # With weights in bfloat16, Adam would lose half of its steps to rounding.
    return Adapted({path: weight.astype("float32") for path, weight in trainable.items()}, frozen)
