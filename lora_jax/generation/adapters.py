"""Several adapters of one base in an engine, so that a batch can use all of them."""

from collections.abc import Sequence

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.generation.engine import Engine
from lora_jax.model.stacks import split_blocks
from lora_jax.params import Params
from lora_jax.peft.method import Adapted, MethodConfig, start
from lora_jax.peft.stacking import align, program


def load_engine(
    model: ModelConfig, base: Params, adapters: Sequence[tuple[MethodConfig, Params]] = ()
) -> Engine:
    """Make an engine of a base and any number of adapters.

    Several adapters must use one method on the same targets. Their ranks and scales may differ. Smaller ranks
    are padded with zeros.

    Args:
        model: The shape of the base.
        base: The weights of the base.
        adapters: For each adapter, its method and its trained weights.

    Raises:
        LoraJaxError: The adapters compute different programs, or `Engine` refuses the model.
    """
    if not adapters:
        return Engine(model, base)
    configs = [config for config, _ in adapters]
    first = program(configs[0])
    for config in configs[1:]:
        if program(config) != first:
            raise LoraJaxError(
                f"the adapters are {configs[0]} and {config}, side by side they must be of one method that"
                " differs in rank and scale alone: load them one at a time."
            )
    methods = [config.build(model) for config in configs]
    split = split_blocks(base, methods[0].n_top)
    adapted = [
        Adapted(trainable, start(split, method, seed=0).frozen)
        for method, (_, trainable) in zip(methods, adapters, strict=True)
    ]
    if len(adapted) > 1:
        adapted = align(adapted, methods)
    return Engine(model, adapted, configs[0])
