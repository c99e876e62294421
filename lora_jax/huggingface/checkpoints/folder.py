"""A base checkpoint of Hugging Face: read and write config.json and model.safetensors, or its shards."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.files import write_atomically
from lora_jax.huggingface.architectures.architecture import (
    Architecture,
    Json,
    Place,
    find_architecture,
    is_bare,
    place_weights,
)
from lora_jax.huggingface.checkpoints.companions import copy_companions
from lora_jax.huggingface.checkpoints.description import (
    count_classes,
    describe,
    read_json,
    refuse_foreign,
)
from lora_jax.huggingface.checkpoints.matching import check_tensors, find_new, match_names
from lora_jax.huggingface.checkpoints.shards import (
    SHARD_BYTES,
    Stored,
    list_names,
    open_tensors,
    write_tensors,
)
from lora_jax.huggingface.checkpoints.tensors import fuse_weights, stored_shape, take_weight
from lora_jax.model.declare import declare
from lora_jax.model.stacks import join_blocks
from lora_jax.params import Params, Specs, init
from lora_jax.temporaries import held, sweep, temporary_beside


class Checkpoint(NamedTuple):
    """What a folder holds, in our shapes.

    Attributes:
        config: The shape of the model.
        params: Its weights, by path.
        model_type: model_type of config.json.
        source: config.json. `save_folder` keeps what it says besides the shape.
        new: Weights of ours that the files lack and that were drawn.
        left_out: Tensors of heads that the model does not have.
    """

    config: ModelConfig
    params: Params
    model_type: str
    source: Json
    new: tuple[str, ...]
    left_out: tuple[str, ...]


def load_folder(
    path: Path | str,
    n_classes: int | None = None,
    dtype: Literal["float32", "stored"] = "float32",
    seed: int = 0,
) -> Checkpoint:
    """Load a folder with config.json and safetensors: a language model, a classifier or a bare encoder.

    Beside the model, only one weight at a time is in memory.

    Args:
        path: The folder.
        n_classes: Loads a classifier with this many classes. If the files have none, it is drawn from `seed`
            and listed in `new`.
        dtype: "stored" keeps the dtype of the files.
        seed: Seed of a classifier that is drawn.

    Raises:
        LoraJaxError: A file is missing or cut off, the architecture or one of its settings is not supported,
            or a tensor is missing, unexpected or of another shape. The message names it.
    """
    folder = Path(path)
    source = read_json(folder / "config.json")
    if (folder / "adapter_config.json").exists():
        raise LoraJaxError(
            f"{folder} holds a model and an adapter, which transformers would load both: move the adapter's"
            " two files into a folder of their own and name it as the adapter."
        )
    architecture = find_architecture(str(source.get("model_type")))
    refuse_foreign(architecture, source)
    stored = open_tensors(folder)
    config = architecture.read_config(source, count_classes(source, n_classes))
    places = place_weights(architecture, declare(config))
    names, left_out = match_names(architecture, config, source, stored, places)
    new = find_new(source, places, names)
    places = [place for place in places if place.path not in new]
    check_tensors(stored, places, names)
    params = _read(stored, places, names, dtype)
    params |= init({path: spec for path, spec in declare(config).items() if path in new}, seed)
    order = declare(config)
    return Checkpoint(
        config, {p: params[p] for p in order}, architecture.model_type, source, tuple(sorted(new)), left_out
    )


def read_model_config(path: Path | str) -> ModelConfig:
    """Return the shape of a folder's model, from its config.json alone.

    Raises:
        LoraJaxError: config.json is missing, or describes a model that is not supported.
    """
    source = read_json(Path(path) / "config.json")
    architecture = find_architecture(str(source.get("model_type")))
    return architecture.read_config(source, count_classes(source, None))


def save_folder(
    path: Path | str,
    config: ModelConfig,
    params: Params,
    model_type: str,
    *,
    dtype: Literal["float32", "float16", "bfloat16"] | None = None,
    source: Json | None = None,
    labels: Sequence[str] | None = None,
    left_out: Mapping[str, np.ndarray] | None = None,
    shard_bytes: int = SHARD_BYTES,
    beside: Path | None = None,
) -> Path:
    """Write a folder that transformers loads as model_type ("gpt2", "llama", ...), and return it.

    We write the folder under a temporary name and then rename it. So it is complete or not there.

    Args:
        path: The folder.
        config: The shape of the model.
        params: Its weights, by path.
        model_type: model_type of config.json.
        dtype: Dtype of the files. None keeps the dtype of each weight.
        source: A config.json whose other settings are kept.
        labels: Names of the classes.
        left_out: Tensors that our model has no place for (`read_left_out`).
        shard_bytes: Largest size of a file.
        beside: A folder of the same model, from which everything else is copied (`copy_companions`).

    Raises:
        LoraJaxError: The folder exists, the architecture cannot express the model, or the tree is not that of
            the config. The message names the weights.
    """
    folder = Path(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LoraJaxError(f"{folder} exists: give a folder that is not there yet.")
    architecture = find_architecture(model_type)
    params = join_blocks(params)
    specs = declare(config)
    _check_tree(specs, params)
    description = describe(architecture, config, dtype or str(params["embed/tokens"].dtype), source, labels)
    groups = _group(architecture, config, specs)
    extra = {_strip_root(architecture, config, name): array for name, array in (left_out or {}).items()}
    dtypes = {name: dtype or str(params[group[0].path].dtype) for name, group in groups.items()}
    sizes = {
        name: math.prod(stored_shape(group[0])) * np.dtype(jnp.dtype(dtypes[name])).itemsize
        for name, group in groups.items()
    } | {name: array.nbytes for name, array in extra.items()}

    def build(name: str) -> np.ndarray:
        if name in extra:
            return extra[name]
        weights = [_layer(params[place.path], place) for place in groups[name]]
        return _cast(name, fuse_weights(weights, groups[name]), dtypes[name])

    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder.parent, folder.name)
    temporary = temporary_beside(folder)
    temporary.mkdir()
    try:
        with held(temporary):
            if beside is not None:
                copy_companions(beside, temporary)
            write_tensors(temporary, sizes, build, shard_bytes)
            write_atomically(temporary / "config.json", json.dumps(description, indent=2) + "\n")
            temporary.replace(folder)  # this replaces an empty folder too
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _cast(name: str, array: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        cast = array.astype(jnp.dtype(dtype), copy=False)
    if dtype == "float16" and np.isinf(cast).sum() > np.isinf(array).sum():
        raise LoraJaxError(f"{name} has numbers beyond float16's 65504: save it as bfloat16 or float32.")
    return cast


def read_dtypes(path: Path | str, config: ModelConfig, model_type: str) -> dict[str, str]:
    """Return the dtype of each of our weights in a folder's files. If layers differ, it is the widest.

    Weights that the files lack are left out, such as a new head, or one that was untied since.
    """
    folder = Path(path)
    stored, architecture = open_tensors(folder), find_architecture(model_type)
    places = place_weights(architecture, declare(config))
    source = read_json(folder / "config.json")
    names, _ = match_names(architecture, config, source, stored, places)
    dtypes: dict[str, str] = {}
    for place in places:
        if place.tensor in names:
            own = stored.dtype(names[place.tensor])
            dtypes[place.path] = str(jnp.promote_types(dtypes.get(place.path, own), own))
    return dtypes


def read_left_out(path: Path | str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read what `load_folder` left out, such as the pooler of a bare encoder, to hand it to `save_folder`."""
    stored = open_tensors(Path(path))
    return {name: stored.read(name) for name in names}


def _check_tree(specs: Specs, params: Params) -> None:
    missing, extra = specs.keys() - params.keys(), params.keys() - specs.keys()
    if missing:
        raise LoraJaxError(f"the tree lacks {list_names(missing)}, which its config declares: give them all.")
    if extra:
        raise LoraJaxError(
            f"the tree holds {list_names(extra)}, which are no weights of the base: merge the adapter, or"
            " save it by itself."
        )
    for path, spec in specs.items():
        if params[path].shape != spec.shape:
            raise LoraJaxError(
                f"{path} has the shape {params[path].shape}, its config wants {spec.shape}: give the"
                " config of this tree."
            )


def _group(architecture: Architecture, config: ModelConfig, specs: Specs) -> dict[str, list[Place]]:
    """Return the weights that lie in each tensor, by its name in the file, layer by layer."""
    groups: dict[str, list[Place]] = {}
    places = place_weights(architecture, specs)
    for place in sorted(places, key=lambda place: -1 if place.layer is None else place.layer):
        groups.setdefault(_strip_root(architecture, config, place.tensor), []).append(place)
    return groups


def _strip_root(architecture: Architecture, config: ModelConfig, name: str) -> str:
    return name.removeprefix(architecture.root) if is_bare(config) else name


def _layer(weight: jax.Array, place: Place) -> np.ndarray:
    array = np.asarray(weight)  # no copy on a CPU
    return array if place.layer is None else array[place.layer]


def check_tokenizer(config: ModelConfig, n_tokens: int) -> None:
    """Check that a tokenizer has no more tokens than the model has embeddings. Spare embeddings are harmless.

    Raises:
        LoraJaxError: It has more.
    """
    if n_tokens > config.vocab_size:
        raise LoraJaxError(
            f"the tokenizer has {n_tokens} tokens and the model's embedding {config.vocab_size}: take the"
            " tokenizer that belongs to the model."
        )


def _read(stored: Stored, places: list[Place], names: Mapping[str, str], dtype: str) -> Params:
    by_path: dict[str, list[Place]] = {}
    for place in places:
        by_path.setdefault(place.path, []).append(place)
    return {path: jnp.asarray(_stack(stored, group, names, dtype)) for path, group in by_path.items()}


def _stack(stored: Stored, group: list[Place], names: Mapping[str, str], dtype: str) -> np.ndarray:
    """Return one of our weights with all its layers, filled layer by layer."""
    out: np.ndarray | None = None
    for place in group:
        tensor = stored.read(names[place.tensor])
        wanted = tensor.dtype if dtype == "stored" else np.dtype(np.float32)
        shape = place.shape if place.layer is None else (len(group), *place.shape)
        out = np.empty(shape, wanted) if out is None else out
        if out.dtype != wanted:
            raise LoraJaxError(
                f"{names[place.tensor]} is {wanted} and other layers of it are {out.dtype}: load the"
                " checkpoint as float32."
            )
        out[... if place.layer is None else place.layer] = take_weight(tensor, place)
    assert out is not None
    return out
