"""How the files of one architecture lie: one declaration drives loading, saving and adapters.

Every module here named names_*.py with `ARCHITECTURES = (...)` is found by itself.
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

    "blocks" puts n_parts side by side, [q | k | v] (GPT-2). "heads" puts them side by side in each head
    (GPT-NeoX).
    """

    index: int
    n_parts: int
    layout: Literal["blocks", "heads"]


class Module(NamedTuple):
    """A module that holds one of our matrices or embeddings, and in `bias` the bias that belongs to it.

    Attributes:
        name: Name inside a layer ("self_attn.q_proj"), or in the whole model ("lm_head", "transformer.wte").
        transposed: Whether it is stored as (out, in), like torch's Linear. False for GPT-2's Conv1D, (in,
            out), and for embeddings.
    """

    name: str
    part: Part | None = None
    transposed: bool = True


class Architecture(NamedTuple):
    """Names, layouts and configuration of a family of checkpoints.

    Attributes:
        modules: By our path, inside a block ("attn/q", "mlp/up") or outside ("head", "embed/tokens",
            "classifier").
        norms: For each of our norms ("attn_norm", "final_norm"), the module with its `weight` and, if ours
            has one, its `bias`.
        defaults: What transformers' config class assumes for a key that config.json leaves out.
    """

    model_type: str  # of config.json
    class_prefix: str  # "GPT2" of GPT2LMHeadModel
    lm_class: str | None  # class of the language model; None: an encoder
    root: str  # "transformer.": prefix of all but the heads; files may leave it out
    layer_prefix: str  # "transformer.h.{}.", with the layer's number
    modules: Mapping[str, Module]
    norms: Mapping[str, str]
    defaults: Mapping[str, Any]
    read_config: Callable[[Json, int | None], ModelConfig]  # (config.json, n_classes) -> ours
    write_config: Callable[[ModelConfig], Json]  # without model_type, architectures and dtype
    skipped: tuple[str, ...] = ()  # buffers: regular expressions of a whole tensor name
    # tensors of heads that a ModelConfig may have no place for: left out, and told
    heads: tuple[str, ...] = ()
    other_names: Mapping[str, str] = {}  # a tensor's name in some files -> the name here


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
        LoraJaxError: it is not one of those that are supported; names the nearest.
    """
    known = find_architectures()
    if model_type not in known:
        raise LoraJaxError(
            f"model_type {model_type!r} is not supported{nearest(model_type, known)}: convert the checkpoint"
            " to a supported architecture, or add a names_*.py."
        )
    return known[model_type]


def is_bare(config: ModelConfig) -> bool:
    """Is it a model without a head (BertModel), whose tensors have no root prefix?"""
    return not config.has_lm_head and config.n_classes is None


def name_module(architecture: Architecture, config: ModelConfig, path: str, layer: int | None = None) -> str:
    """Return the full dotted name of the module that holds one of our weights: "transformer.h.3.attn.c_attn".

    Args:
        path: Path inside a block, with a layer ("attn/q", 3), or outside, without ("head").
    """
    inside = architecture.modules[path].name if path in architecture.modules else architecture.norms[path]
    name = inside if layer is None else architecture.layer_prefix.format(layer) + inside
    return name.removeprefix(architecture.root) if is_bare(config) else name


class Place(NamedTuple):
    """Where one weight of ours, of one layer where it has layers, lies in the files."""

    path: str  # ours, "blocks/attn/q"
    layer: int | None
    shape: tuple[int, ...]  # ours, without the layer axis
    n_inputs: int  # how many leading axes a matmul sums over; 0: a vector, or a table that is looked up
    tensor: str  # theirs, with the root prefix
    part: Part | None
    transposed: bool


def place_weights(architecture: Architecture, specs: Specs) -> list[Place]:
    """Return where every declared weight lies, layer by layer within a weight."""
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
