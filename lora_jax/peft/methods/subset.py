"""Methods that add nothing and train a part of the base: all of it, the top layers, biases or norms."""

from collections.abc import Iterable
from dataclasses import dataclass

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import declare
from lora_jax.model.stacks import TOP_BLOCKS
from lora_jax.params import Params, Specs
from lora_jax.peft.method import Method, task_head
from lora_jax.ranges import Layers, check_fields


@dataclass(frozen=True, kw_only=True)
class Full:
    """Full fine-tuning: every weight trains."""

    def build(self, model: ModelConfig) -> Method:
        """Return the method for a model."""
        base = declare(model)
        return _train(base, base)


@dataclass(frozen=True, kw_only=True)
class TopLayers:
    """Train the last blocks and, in a classifier, the head.

    Nothing is computed backward below these blocks, because the lower blocks are a stack of their own.

    Attributes:
        layers: Number of blocks, from the top.
        after: Whether to train what follows the blocks too: the final norm and an untied head of a language
            model, and the pooler of an encoder.
    """

    layers: Layers = 1
    after: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "TopLayers")

    def build(self, model: ModelConfig) -> Method:
        """Return the method for a model.

        Raises:
            LoraJaxError: The model has fewer blocks.
        """
        base = declare(model, self.layers)
        chosen = (TOP_BLOCKS, "final_norm/", "head", "pooler") if self.after else TOP_BLOCKS
        return _train(base, (path for path in base if path.startswith(chosen)), self.layers)


@dataclass(frozen=True, kw_only=True)
class BitFit:
    """Train only the biases.

    Reference: Ben Zaken et al. 2021 (arXiv 2106.10199).
    """

    def build(self, model: ModelConfig) -> Method:
        """Return the method for a model.

        Raises:
            LoraJaxError: The model has no biases.
        """
        base = declare(model)
        biases = [path for path in base if path.endswith(("_bias", "/bias"))]
        if not biases:
            raise LoraJaxError("BitFit trains biases, and this model has none: choose NormTuning or LoRA.")
        return _train(base, biases)


@dataclass(frozen=True, kw_only=True)
class NormTuning:
    """Train only the scales and biases of the norms.

    Reference: Houlsby et al. 2019 (arXiv 1902.00751), section 3.4.
    """

    def build(self, model: ModelConfig) -> Method:
        """Return the method for a model."""
        base = declare(model)
        return _train(base, (path for path in base if path.endswith(("/scale", "/bias"))))


def _train(base: Specs, paths: Iterable[str], n_top: int = 0) -> Method:
    def merge(params: Params) -> Params:
        return {path: params[path] for path in base}

    return Method(specs=base, trainable=frozenset(paths) | task_head(base), merge=merge, n_top=n_top)


METHODS = (Full, TopLayers, BitFit, NormTuning)
