"""Models in a notebook: draw weights, adapt by a method, merge, and write text."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax

from lora_jax.config import ModelConfig
from lora_jax.framing import Framing, find_end_ids
from lora_jax.generation.engine import Engine
from lora_jax.generation.generate import cut_at_stop
from lora_jax.generation.generate import generate as complete
from lora_jax.generation.sampling import Sampling
from lora_jax.huggingface.pretrained import Pretrained
from lora_jax.model.declare import declare
from lora_jax.model.transformer import Inputs, forward
from lora_jax.params import Params
from lora_jax.params import init as draw
from lora_jax.peft.merge import Merged
from lora_jax.peft.merge import merge as merge_weights
from lora_jax.peft.method import Adapted, Method, MethodConfig
from lora_jax.peft.method import adapt as split


def init(config: ModelConfig, seed: int = 0) -> Params:
    """Draw the weights of a transformer.

    Args:
        config: The shape of the model.
        seed: Seed of the draw. Each weight depends on the seed and on its own path.

    Returns:
        A flat dictionary from path, such as "blocks/attn/q", to array. Blocks are stacked on the first axis.
    """
    return draw(declare(config), seed)


@dataclass(frozen=True)
class AdaptedModel:
    """A model with an adaptation method on it.

    Attributes:
        config: The shape of the base.
        base: The weights of the base. They never change.
        method: The method, such as LoRA(rank=8).
        trainable: The weights that train, as they start.
        frozen: All other weights. The two share no path. `lora_jax.combine` puts them together.
    """

    config: ModelConfig
    base: Params
    method: MethodConfig
    trainable: Params
    frozen: Params

    @property
    def built(self) -> Method:
        """The method as pure functions: its hooks, what trains, and how it merges."""
        return self.method.build(self.config)

    def forward(self, params: Params, tokens: Inputs | jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Compute the logits of the adapted model.

        Args:
            params: The combined weights, `lora_jax.combine(trainable, frozen)`.
            tokens: Token ids (B, T).
            key: Key of the method's dropout. None drops nothing.

        Returns:
            Next-token logits (B, T, V) in float32. A classifier gives (B, C).
        """
        return forward(self.config, params, tokens, self.built.hooks, key)


def adapt(base: Pretrained | tuple[ModelConfig, Params], method: MethodConfig, seed: int = 0) -> AdaptedModel:
    """Put an adaptation method on a model.

        model = lj.adapt(lj.load_pretrained("smollm2"), lj.LoRA(rank=8))

    Args:
        base: What `load_pretrained` returns, or a shape and its weights.
        method: The method: LoRA, DoRA, Full, BitFit and so on.
        seed: Seed of the new weights.

    Returns:
        The adapted model. Train its `trainable` weights, keep its `frozen` ones, and compute logits by its
        `forward`.

    Raises:
        LoraJaxError: The method does not fit the model.
    """
    config, params = (base.config, base.params) if isinstance(base, Pretrained) else base
    return AdaptedModel(config, params, method, *split(params, method.build(config), seed))


def merge(model: AdaptedModel, trainable: Params | None = None, *, force: bool = False) -> Merged:
    """Fold trained weights into the base, so that the merged model costs what the base costs.

    Args:
        model: The adapted model.
        trainable: Its trained weights. The default is the weights that it started with.
        force: Whether to merge even if rounding to the base's number type loses more than 5 % of the update.

    Returns:
        The merged weights (`params`), and what rounding lost.

    Raises:
        LoraJaxError: The method has no merged form, or rounding would lose too much.
    """
    adapted = Adapted(model.trainable if trainable is None else trainable, model.frozen)
    return merge_weights(model.config, model.base, adapted, model.method, force=force)


def generate(
    base: Pretrained,
    prompts: str | Sequence[str],
    n_new: int = 64,
    *,
    weights: Params | AdaptedModel | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008 (immutable)
    stop: Sequence[str] = (),
) -> list[str]:
    """Continue texts.

    Args:
        base: The model and its tokenizer.
        prompts: One text, or several, which are continued side by side.
        n_new: The most new tokens for each.
        weights: Weights in place of the base's: merged ones, or an adapted model.
        sampling: How tokens are chosen, such as Sampling(temperature=.8, top_p=.9). The default takes the
            most likely token.
        stop: Texts at which a continuation ends.

    Returns:
        The continuation of each prompt, without the prompt.

    Raises:
        LoraJaxError: The model is an encoder, or a prompt is empty or too long.
    """
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    tokenizer, framing = base.tokenizer, Framing(base.tokenizer)
    found = complete(
        make_engine(base, weights),
        [framing.prompt(text).ids for text in texts],
        n_new,
        sampling=sampling,
        end_ids=find_end_ids(tokenizer),
        stop=stop,
        decode=tokenizer.continue_text,
    )
    return [cut_at_stop(tokenizer.continue_text(one.tokens), stop) for one in found]


def make_engine(base: Pretrained, weights: Params | AdaptedModel | None) -> Engine:
    """Return an engine that generates with the base, with other weights, or with an adapted model."""
    if isinstance(weights, AdaptedModel):
        return Engine(base.config, [Adapted(weights.trainable, weights.frozen)], weights.method)
    return Engine(base.config, base.params if weights is None else weights)
