"""The modules that an adapter may be on: which of our weights each holds, and its name in a config.

Axes: Y layers, P rows of one weight's output, M rows of the module's whole output, C columns.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from lora_jax.config import ModelConfig
from lora_jax.huggingface.architectures.architecture import Architecture, is_bare, name_module
from lora_jax.model.declare import declare
from lora_jax.model.stacks import BLOCKS
from lora_jax.params import Spec
from lora_jax.peft.low_rank import sizes

# GPT-NeoX's head: from version 5 on transformers calls it lm_head in memory, whatever the files say
IN_MEMORY = {"embed_out": "lm_head"}


class AdapterModule(NamedTuple):
    """A module of Hugging Face: one of our weights, or q, k and v that share a matrix.

    Attributes:
        name: Name inside a layer ("attn.c_attn"), or in the whole model ("lm_head").
        paths: Our paths, inside a block or outside, in the order of the matrix's output.
        specs: The Specs of these paths, of all layers.
        in_block: Whether it is inside the blocks.
        is_conv: Whether the matrix is stored as (in, out).
        layout: How q, k and v share the matrix (`Part`). None if it holds one weight.
    """

    name: str
    paths: tuple[str, ...]
    specs: tuple[Spec, ...]
    in_block: bool
    is_conv: bool
    layout: Literal["blocks", "heads"] | None = None

    @property
    def is_embedding(self) -> bool:
        """Whether it is the embedding of tokens."""
        return self.paths == ("embed/tokens",)

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return sizes(self.specs[0])[0]

    @property
    def n_out(self) -> tuple[int, ...]:
        """Number of outputs of each part."""
        return tuple(sizes(spec)[1] for spec in self.specs)

    def whole_paths(self, segment: str) -> list[tuple[str, Spec]]:
        """Return the whole path and the Spec of each part. Inside blocks the path begins with the segment."""
        lead = segment if self.in_block else ""
        return [(lead + path, spec) for path, spec in zip(self.paths, self.specs, strict=True)]


def list_modules(architecture: Architecture, model: ModelConfig) -> list[AdapterModule]:
    """Return every module of a model that holds a matrix, once for all layers.

    The embedding of tokens is included.
    """
    specs = declare(model)
    grouped: dict[str, list[str]] = {}
    for path, module in architecture.modules.items():
        is_there = path in specs or BLOCKS + path in specs
        if is_there and (path == "embed/tokens" or not path.startswith("embed/")):
            grouped.setdefault(module.name, []).append(path)
    return [_gather(architecture, name, paths, specs) for name, paths in grouped.items()]


def _gather(architecture: Architecture, name: str, paths: list[str], specs: dict[str, Spec]) -> AdapterModule:
    def index(path: str) -> int:
        part = architecture.modules[path].part
        return 0 if part is None else part.index

    paths = sorted(paths, key=index)
    first = architecture.modules[paths[0]]
    in_block = BLOCKS + paths[0] in specs
    return AdapterModule(
        name=name,
        paths=tuple(paths),
        specs=tuple(specs[BLOCKS + path if in_block else path] for path in paths),
        in_block=in_block,
        is_conv=not first.transposed and paths[0] != "embed/tokens",
        layout=None if first.part is None else first.part.layout,
    )


def whole_name(
    architecture: Architecture, model: ModelConfig, module: AdapterModule, layer: int | None
) -> str:
    """Return a module's dotted name in the whole model.

    It is the name in memory, which may differ from the name in a base's files.

    Args:
        architecture: The architecture.
        model: The shape of the model.
        module: The module.
        layer: Number of the layer. None for a module outside the blocks.
    """
    name = name_module(architecture, model, module.paths[0], layer)
    return IN_MEMORY.get(name, name)


def name_in_memory(architecture: Architecture, model: ModelConfig, tensor: str) -> str:
    """Return the name in memory of a tensor of the base's files."""
    name = tensor.removeprefix(architecture.root) if is_bare(model) else tensor
    module, _, leaf = name.rpartition(".")
    return f"{IN_MEMORY.get(module, module)}.{leaf}"


def is_head(module: AdapterModule) -> bool:
    """Return whether it is a classifier or the pooler before it. These are saved whole beside an adapter."""
    return module.paths[0] in ("pooler", "classifier")


def join_rows(module: AdapterModule, parts: Sequence[np.ndarray], n_heads: int) -> np.ndarray:
    """Join the rows of a module's parts, (Y, P, C) each, to the rows of its output, (Y, M, C)."""
    if module.layout != "heads":
        return np.concatenate(parts, axis=1)
    per_head = [part.reshape(len(part), n_heads, -1, part.shape[-1]) for part in parts]
    joined_YHWC = np.concatenate(per_head, axis=2)
    return joined_YHWC.reshape(len(joined_YHWC), -1, joined_YHWC.shape[-1])


def split_rows(module: AdapterModule, rows_YMC: np.ndarray, n_heads: int) -> list[np.ndarray]:
    """Undo `join_rows`."""
    Y, _, C = rows_YMC.shape
    if module.layout != "heads":
        return np.split(rows_YMC, np.cumsum(module.n_out)[:-1], axis=1)
    widths = np.array(module.n_out) // n_heads
    per_head = np.split(rows_YMC.reshape(Y, n_heads, -1, C), np.cumsum(widths)[:-1], axis=2)
    return [part.reshape(Y, -1, C) for part in per_head]


class Naming(NamedTuple):
    """The names by which an adapter's config calls the modules that it adapts.

    Attributes:
        names: Names of each module, by its own name. There are several if only the full names of each layer
            are unambiguous.
        layers: For `layers_to_transform`. None if every layer is meant.
    """

    names: dict[str, list[str]]
    layers: list[int] | None

    @property
    def flat(self) -> list[str]:
        """All names, sorted."""
        return sorted(name for names in self.names.values() for name in names)


def choose_names(
    architecture: Architecture,
    model: ModelConfig,
    chosen: Iterable[AdapterModule],
    layers: Sequence[int],
) -> Naming:
    """Return the shortest names by which peft finds these modules in these layers, and no others.

    peft takes a module whose name is NAME or ends in ".NAME". BERT's "output.dense" is also the end of
    "attention.output.dense", so we name it layer by layer.
    """
    everything = [module.name for module in architecture.modules.values()]
    names: dict[str, list[str]] = {}
    for module in chosen:
        if not module.in_block:
            names[module.name] = [whole_name(architecture, model, module, None)]
            continue
        short = shortest_suffix(module.name, everything)
        whole = [whole_name(architecture, model, module, layer) for layer in layers]
        names[module.name] = whole if short is None else [short]
    return Naming(names, None if len(layers) == model.n_layers else list(layers))


def shortest_suffix(name: str, everything: Collection[str]) -> str | None:
    """Return the shortest dotted end of a name that ends no other name. None if there is none."""
    pieces = name.split(".")
    for n in range(1, len(pieces) + 1):
        suffix = ".".join(pieces[-n:])
        if not any(f".{other}".endswith(f".{suffix}") for other in everything if other != name):
            return suffix
    return None
