"""What a config.json says. Missing keys have transformers' defaults. Refusals name the field."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError, nearest

# Our names of activations, by transformers' names. Several names may mean the same function.
GELUS = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "gelu_fast": "gelu", "gelu": "gelu_exact"}


class Fields(NamedTuple):
    """A config.json, and what a missing key means.

    Attributes:
        source: The config.json.
        defaults: Defaults of transformers' config class for every key that we read.
            tests/parity/test_config_keys.py compares them with transformers.
    """

    source: Mapping[str, Any]
    defaults: Mapping[str, Any]

    def read(self, name: str) -> Any:
        """Return a value as it stands there. If the key is missing, return its default."""
        return self.source.get(name, self.defaults[name])

    def size(self, name: str) -> int:
        """Return a whole number above 0.

        Raises:
            LoraJaxError: The field holds something else, null included.
        """
        value = self.read(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise _refuse(name, value, "a whole number above 0")
        return value

    def optional_size(self, name: str) -> int | None:
        """Return a whole number above 0, or None for null.

        Raises:
            LoraJaxError: The field holds something else.
        """
        return None if self.read(name) is None else self.size(name)

    def number(self, name: str) -> float:
        """Return a number above 0.

        Raises:
            LoraJaxError: The field holds something else.
        """
        return read_number(name, self.read(name))

    def flag(self, name: str) -> bool:
        """Return true or false.

        Raises:
            LoraJaxError: The field holds something else.
        """
        value = self.read(name)
        if not isinstance(value, bool):
            raise _refuse(name, value, "true or false")
        return value

    def refuse_unless(self, **wanted: Any) -> None:
        """Check that each field has the wanted value, itself or by its default.

        Raises:
            LoraJaxError: A field has another value.
        """
        for name, value in wanted.items():
            if self.read(name) != value:
                raise LoraJaxError(
                    f"config.json has {name} {self.read(name)!r}, supported is {value!r} alone: choose"
                    " another checkpoint."
                )

    def activation(self, name: str, known: Mapping[str, str] = GELUS) -> Any:
        """Return the ModelConfig.mlp for an activation's name.

        Raises:
            LoraJaxError: The name is unknown.
        """
        value = self.read(name)
        if not isinstance(value, str) or value not in known:
            raise LoraJaxError(
                f"config.json has {name} {value!r}, which is not supported{nearest(str(value), known)}:"
                " choose another checkpoint."
            )
        return known[value]


def read_number(name: str, value: Any) -> float:
    """Return a number above 0.

    Raises:
        LoraJaxError: The value is something else.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e300:
        raise _refuse(name, value, "a number above 0")
    return value


def _refuse(name: str, value: Any, wanted: str) -> LoraJaxError:
    return LoraJaxError(f"config.json has {name} {value!r}, but it must be {wanted}: mend the file.")


def check_agree(what: str, taken: Any, said: Mapping[str, Any]) -> None:
    """Check that a config.json gives one value for a thing, if it stands in several places.

    Args:
        what: What the value is, for the message.
        taken: The value that transformers 5 takes.
        said: The value in each place, by the place's name. None if a place has no value.

    Raises:
        LoraJaxError: The values differ.
    """
    others = {name: value for name, value in said.items() if value is not None and value != taken}
    if others:
        told = ", ".join(f"{name} {value!r}" for name, value in others.items())
        raise LoraJaxError(
            f"config.json says {what} more than once: transformers 5 takes {taken!r}, and there is {told}"
            " too: keep the one that is meant."
        )


def join_names(source: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return a config.json in which each field has its first name.

    Args:
        source: The config.json.
        names: The first name of a field, by its other name. If both are there, transformers takes the other.

    Raises:
        LoraJaxError: Both are there and have different values.
    """
    joined = {name: value for name, value in source.items() if name not in names}
    for other, first in names.items():
        if other in source:
            check_agree(first, source[other], {first: source.get(first)})
            joined[first] = source[other]
    return joined


def name_activation(config: ModelConfig) -> str:
    """Return the first of the names that an activation has.

    Raises:
        LoraJaxError: It has no name here, as swiglu.
    """
    names = [name for name, ours in GELUS.items() if ours == config.mlp]
    if not names:
        raise LoraJaxError(
            f"model.mlp is {config.mlp!r}, this architecture has {sorted(set(GELUS.values()))}: choose"
            " another model_type."
        )
    return names[0]
