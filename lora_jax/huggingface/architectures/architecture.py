"""How the files of an architecture are laid out. One declaration drives loading, saving and adapters.

We find every module here named names_*.py that has `ARCHITECTURES = (...)`.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.model.stacks import inside_block
from lora_jax.params import Specs

Json = dict[str, Any]


class Part(NamedTuple):
    """Which share of a fused matrix's output one of our weights is.

    Attributes:
        index: Number of the part.
        n_parts: Number of parts.
        layout: "blocks" puts the parts side by side, [q | k | v] (GPT-2). "heads" puts them side by side in
            each head (GPT-NeoX).
    """

    index: int
    n_parts: int
    layout: Literal["blocks", "heads"]


class Module(NamedTuple):
    """A module that holds one of our matrices or embeddings, and in `bias` the bias that belongs to it.

    Attributes:
        name: Name inside a layer ("self_attn.q_proj"), or in the whole model ("lm_head", "transformer.wte").
        part: The part of a fused matrix that our weight is. None if it is the whole matrix.
        transposed: Whether it is stored as (out, in), like torch's Linear. False for GPT-2's Conv1D, (in,
            out), and for embeddings.
    """

    name: str
    part: Part | None = None
    transposed: bool = True


class Architecture(NamedTuple):
    """Names, layouts and configuration of a family of checkpoints.

    Attributes:
        model_type: model_type of config.json.
        class_prefix: Prefix of transformers' classes, such as "GPT2" of GPT2LMHeadModel.
        lm_class: Class of the language model. None for an encoder.
        root: Prefix of all tensors except those of heads, such as "transformer.". Files may leave it out.
        layer_prefix: Prefix of a layer, such as "transformer.h.{}.", for its number.
        modules: The module of each of our paths, inside a block ("attn/q", "mlp/up") or outside ("head",
            "embed/tokens", "classifier").
        norms: For each of our norms ("attn_norm", "final_norm"), the module with its `weight` and, if ours
            has one, its `bias`.
        defaults: What transformers' config class assumes for a key that config.json leaves out.
        read_config: Maps (config.json, n_classes) to our ModelConfig.
        write_config: Maps a ModelConfig to config.json, without model_type, architectures and dtype.
        skipped: Regular expressions for the whole names of buffers, which we skip.
        heads: Regular expressions for tensors of heads. If the ModelConfig has no place for them, we leave
            them out and report it.
        other_names: Our name of a tensor, by its name in some files.
    """

    model_type: str
    class_prefix: str
    lm_class: str | None
    root: str
    layer_prefix: str
    modules: Mapping[str, Module]
    norms: Mapping[str, str]
    defaults: Mapping[str, Any]
    read_config: Callable[[Json, int | None], ModelConfig]
    write_config: Callable[[ModelConfig], Json]
    skipped: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    other_names: Mapping[str, str] = {}


@lru_cache
def find_architectures() -> Mapping[str, Architecture]:
    """Return every architecture by its model_type."""
    package, here = __name__.rpartition(".")[0], [str(Path(__file__).parent)]
    names = sorted(info.name for info in pkgutil.iter_modules(here) if info.name.startswith("names_"))
    modules = [importlib.import_module(f"{package}.{name}") for name in names]
    return {one.model_type: one for module in modules for one in module.ARCHITECTURES}


def find_architecture(model_type: str) -> Architecture:
    """Return the architecture of config.json's model_type.

    Raises:
        LoraJaxError: The model_type is not supported. The message names the nearest.
    """
    known = find_architectures()
    if model_type not in known:
        raise LoraJaxError(
            f"model_type {model_type!r} is not supported{nearest(model_type, known)}: convert the checkpoint"
            " to a supported architecture, or add a names_*.py."
        )
    return known[model_type]


def is_bare(config: ModelConfig) -> bool:
    """Return whether it is a model without a head (BertModel). Its tensors have no root prefix."""
    return not config.has_lm_head and config.n_classes is None


def name_module(architecture: Architecture, config: ModelConfig, path: str, layer: int | None = None) -> str:
    """Return the full dotted name of the module that holds one of our weights: "transformer.h.3.attn.c_attn".

    Args:
        architecture: The architecture.
        config: The shape of the model.
        path: Our path: inside a block if there is a layer ("attn/q"), otherwise outside ("head").
        layer: Number of the layer, if the weight is inside a block.
    """
    inside = architecture.modules[path].name if path in architecture.modules else architecture.norms[path]
    name = inside if layer is None else architecture.layer_prefix.format(layer) + inside
    return name.removeprefix(architecture.root) if is_bare(config) else name


class Place(NamedTuple):
    """Where one of our weights, in one layer, lies in the files.

    Attributes:
        path: Our path, such as "blocks/attn/q".
        layer: Number of the layer. None outside the blocks.
        shape: Our shape, without the layer axis.
        n_inputs: How many leading axes a matrix multiplication sums over. 0 for a vector or a table.
        tensor: Name of the tensor, with the root prefix.
        part: The part of a fused matrix that it is, or None.
        transposed: Whether the tensor is stored as (out, in).
    """

    path: str
    layer: int | None
    shape: tuple[int, ...]
    n_inputs: int
    tensor: str
    part: Part | None
    transposed: bool


def place_weights(architecture: Architecture, specs: Specs) -> list[Place]:
    """Return where every declared weight lies, layer by layer within a weight.

    Raises:
        LoraJaxError: The architecture has no place for a weight.
    """
    places: list[Place] = []
    for path, spec in specs.items():
        inner = inside_block(path)
        tensor, part, transposed = _name_tensor(architecture, inner or path)
        n_layers = dict(spec.axes).get("layers") if inner else None
        shape = spec.shape if n_layers is None else spec.shape[1:]
        n_inputs = 0 if path.startswith("embed/") else len(spec.contract)
        if n_layers is None:
            places.append(Place(path, None, shape, n_inputs, tensor, part, transposed))
            continue
        for layer in range(n_layers):
            name = architecture.layer_prefix.format(layer) + tensor
            places.append(Place(path, layer, shape, n_inputs, name, part, transposed))
    return places


def _name_tensor(architecture: Architecture, path: str) -> tuple[str, Part | None, bool]:
    node, _, leaf = path.rpartition("/")
    if node in architecture.norms:
        return f"{architecture.norms[node]}.{'weight' if leaf == 'scale' else leaf}", None, False
    module = architecture.modules.get(path.removesuffix("_bias"))
    if module is None:
        raise LoraJaxError(
            f"{architecture.model_type} has no place for {path!r}: such a model cannot be written as one,"
            " choose another model_type."
        )
    if path.endswith("_bias"):
        return f"{module.name}.bias", module.part, False
    return f"{module.name}.weight", module.part, module.transposed
