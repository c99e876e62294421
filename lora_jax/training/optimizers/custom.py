"""An optimizer of your own: a function that returns an optax transformation."""

import hashlib
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from lora_jax.errors import LoraJaxError
from lora_jax.params import Spec
from lora_jax.ranges import Finite, check_fields, show
from lora_jax.training.optimizers.around import around
from lora_jax.training.optimizers.optimizer import Optimizer, Scale


@dataclass(frozen=True, kw_only=True)
class Custom(Optimizer):
    """An optimizer of your own: a function that returns an optax.GradientTransformation.

    We call the function with `numbers`. The transformation works at unit learning rate, and its updates are
    subtracted, as those of optax.scale_by_adam. We clip gradients before it and add decay after it. If you
    change the function's source, runs get another run_id.

    Attributes:
        function: "module:function". Python must find the module.
        numbers: Arguments of the function, as {name: number}.
        source: Hash of the function's source. It is filled in.
    """

    kind: Literal["custom"] = "custom"
    function: str
    numbers: tuple[tuple[str, Finite], ...] = ()
    source: str = ""

    acts_by_entry = False

    def __post_init__(self) -> None:
        given: Any = self.numbers
        if isinstance(given, Mapping):
            object.__setattr__(self, "numbers", tuple(sorted(given.items())))
        check_fields(self, "optim.optimizer")
        found = _hash_source(_find_function(self.function), self.function)
        if self.source not in ("", found):
            raise LoraJaxError(
                f"optim.optimizer.source is {show(self.source)} and the source of {self.function} has the"
                f" hash {found}: it has changed since, put it back or leave the hash out."
            )
        object.__setattr__(self, "source", found)

    def transform(
        self, specs: Mapping[str, Spec], scales: Mapping[str, Scale]
    ) -> optax.GradientTransformationExtraArgs:
        """Return the function's rule, with clipping before it and decay after it.

        Raises:
            LoraJaxError: The function does not take the numbers or returns something else, or its updates
                have other paths or shapes than the gradients.
        """
        rule = self._call()
        arrays = {path: jax.ShapeDtypeStruct(spec.shape, jnp.float32) for path, spec in specs.items()}
        updates: Any = jax.eval_shape(lambda given: rule.update(given, rule.init(given), given)[0], arrays)
        if jax.tree.structure(updates) != jax.tree.structure(arrays):
            raise LoraJaxError(
                f"the updates of {self.function} are of other weights than the gradients that it was given,"
                " they must be a dictionary with the same paths: mend the function."
            )
        for path, update in updates.items():
            if update.shape != arrays[path].shape:
                raise LoraJaxError(
                    f"{self.function} turns the gradient of {path} of shape {arrays[path].shape} into an"
                    f" update of shape {update.shape}, but it must keep every shape: mend the function."
                )
        return around(rule, specs, scales)

    def _call(self) -> optax.GradientTransformation:
        try:
            rule = _find_function(self.function)(**dict(self.numbers))
        except TypeError as error:
            raise LoraJaxError(f"{self.function} cannot be called with its numbers: {error}.") from error
        if not isinstance(rule, optax.GradientTransformation):
            raise LoraJaxError(
                f"{self.function} returned {show(rule)}, but it must return an optax.GradientTransformation."
            )
        return rule

    def rule_of(self, spec: Spec) -> str:
        """Return the function's name."""
        return self.function

    def update_norm(self, spec: Spec) -> None:
        """Return None, because it is not known."""
        return None

    def state_arrays(self, spec: Spec) -> int:
        """Return how many arrays of the weight's shape the function's state holds."""
        array = {"weight": jax.ShapeDtypeStruct(spec.shape, jnp.float32)}
        state = jax.eval_shape(self._call().init, array)
        return sum(leaf.shape == spec.shape for leaf in jax.tree.leaves(state))


def _find_function(name: str) -> Any:
    module, colon, function = name.partition(":")
    if not module or not colon or not function:
        raise LoraJaxError(
            f"optim.optimizer.function is {show(name)}, but it must be 'module:function': correct it."
        )
    try:
        found = getattr(importlib.import_module(module), function, None)
    except ImportError as error:
        raise LoraJaxError(
            f"optim.optimizer.function is {show(name)}, and importing {module} failed ({error}): correct it,"
            " or put its folder on PYTHONPATH."
        ) from error
    if not callable(found):
        raise LoraJaxError(f"the module {module} has no function {function!r}: correct the name.")
    return found


def _hash_source(function: Any, name: str) -> str:
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError) as error:
        raise LoraJaxError(
            f"the source of {name} cannot be read ({error}), and a run's identity needs it: write it as a"
            " function in a file."
        ) from error
    return hashlib.sha256(text.encode()).hexdigest()[:12]


OPTIMIZERS = (Custom,)
