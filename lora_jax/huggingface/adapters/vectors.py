"""IA3, VeRA, prompts and prefixes in peft's layout."""

from typing import NamedTuple

import numpy as np

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.adapters.fields import Fields, common_fields
from lora_jax.huggingface.adapters.folder import PREFIX, Tensors
from lora_jax.huggingface.adapters.modules import (
    choose_names,
    join_rows,
    list_modules,
    whole_name,
)
from lora_jax.huggingface.architectures.architecture import Architecture
from lora_jax.model.stacks import BLOCKS, TOP_BLOCKS
from lora_jax.params import init
from lora_jax.peft.methods import vera
from lora_jax.peft.methods.ia3 import INPUTS
from lora_jax.peft.methods.prefix import PREFIX_K, PREFIX_V, Prefix
from lora_jax.peft.methods.prompt import PROMPT, Prompt


class Place(NamedTuple):
    """What an adapter goes onto.

    Attributes:
        architecture: The architecture.
        model: The shape of the model.
    """

    architecture: Architecture
    model: ModelConfig


def export_ia3(place: Place, weights: Tensors) -> tuple[Fields, Tensors]:
    """Return IA3's fields and scales. Scales of outputs are (M, 1), and scales of inputs are (1, I)."""
    architecture, model = place
    layers = list(range(model.n_layers))
    modules = [m for m in list_modules(architecture, model) if m.in_block]
    scales: dict[str, np.ndarray] = {}
    for module in modules:
        if any(f"{BLOCKS}{path}_ia3" in weights for path in module.paths):
            columns = [
                weights.get(f"{BLOCKS}{path}_ia3", np.ones((len(layers), n_out), np.float32))
                for path, n_out in zip(module.paths, module.n_out, strict=True)
            ]
            parts = [column.reshape(len(layers), -1, 1) for column in columns]
            scales[module.name] = join_rows(module, parts, model.n_heads)
    adapted = [module for module in modules if module.name in scales]
    naming = choose_names(architecture, model, adapted, layers)
    inner = [module for module in adapted if module.paths[0] in INPUTS]
    tensors: Tensors = {}
    for module in adapted:
        for layer in layers:
            scale_M1 = scales[module.name][layer]
            name = f"{PREFIX}{whole_name(architecture, model, module, layer)}.ia3_l"
            tensors[name] = scale_M1.T if module in inner else scale_M1
    fields = {
        **common_fields("IA3", model),
        "target_modules": naming.flat,
        "feedforward_modules": sorted(name for module in inner for name in naming.names[module.name]),
        "fan_in_fan_out": any(module.is_conv for module in adapted),
    }
    return fields, tensors


def export_vera(place: Place, method: vera.VeRA, weights: Tensors) -> tuple[Fields, Tensors]:
    """Return VeRA's fields, vectors and the two shared matrices, which we draw again from their seed.

    Raises:
        LoraJaxError: It adapts a part of a fused matrix.
    """
    architecture, model = place
    segment = TOP_BLOCKS if method.top_layers else BLOCKS
    layers = list(range(model.n_layers - (method.top_layers or model.n_layers), model.n_layers))
    adapted = [
        module
        for module in list_modules(architecture, model)
        if any(f"{path}_vera_d" in weights for path, _ in module.whole_paths(segment))
    ]
    for module in adapted:
        if len(module.paths) > 1:
            raise LoraJaxError(
                f"VeRA on a part of {module.name} has no form in peft, whose vectors are of the whole matrix:"
                " train LoRA to export it, or merge it."
            )
    specs = method.build(model).specs
    shared = init({path: specs[path] for path in (vera.A, vera.B)}, method.projection_seed)
    tensors: Tensors = {
        "base_model.vera_A": np.asarray(shared[vera.A]).T,
        "base_model.vera_B": np.asarray(shared[vera.B]).T,
    }
    for module in adapted:
        path, _ = module.whole_paths(segment)[0]
        for y, layer in enumerate(layers if module.in_block else [None]):
            name = PREFIX + whole_name(architecture, model, module, layer)
            d, b = weights[f"{path}_vera_d"], weights[f"{path}_vera_b"]
            tensors[f"{name}.vera_lambda_d"] = d[y] if module.in_block else d
            tensors[f"{name}.vera_lambda_b"] = (b[y] if module.in_block else b).reshape(-1)
    naming = choose_names(architecture, model, adapted, layers)
    fields = {
        **common_fields("VERA", model),
        "target_modules": naming.flat,
        "layers_to_transform": naming.layers,
        "r": method.rank,
        "projection_prng_key": method.projection_seed,
        "save_projection": True,
        "vera_dropout": method.dropout,
        "d_initial": method.d_start,
        "bias": "none",
        "fan_in_fan_out": any(module.is_conv for module in adapted),
    }
    return fields, tensors


def export_prompt(place: Place, method: Prompt | Prefix, weights: Tensors) -> tuple[Fields, Tensors]:
    """Return the fields and the table of a prompt or a prefix.

    A prompt is (tokens, D). A prefix is (tokens, 2 Y J K), with the keys and then the values of each layer.

    Raises:
        LoraJaxError: The model is a classifier or an encoder.
    """
    model, name = place.model, type(method).__name__
    if model.n_classes is not None or not model.causal:
        raise LoraJaxError(
            f"{name} on a classifier or an encoder has no form in peft that computes the same (it reads the"
            " answer at another position): train LoRA or IA3 to export it, or keep our own checkpoint."
        )
    fields: Fields = {"num_virtual_tokens": method.length, "num_transformer_submodules": 1}
    if isinstance(method, Prompt):
        fields |= common_fields("PROMPT_TUNING", model)
        fields |= {"token_dim": model.d_model, "num_attention_heads": model.n_heads}
        table = weights[PROMPT]
    else:
        fields |= common_fields("PREFIX_TUNING", model)
        fields |= {"token_dim": model.kv_heads * model.head_dim, "num_attention_heads": model.kv_heads}
        k_v_YPCJK = np.stack([weights[BLOCKS + PREFIX_K], weights[BLOCKS + PREFIX_V]], axis=2)
        table = k_v_YPCJK.transpose(1, 0, 2, 3, 4).reshape(method.length, -1)
    return {**fields, "num_layers": model.n_layers}, {"prompt_embeddings": table}
