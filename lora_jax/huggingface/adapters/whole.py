"""Modules that an adapter holds whole: those in modules_to_save, and matrices of the base that peft adds.

peft makes a copy of a module in modules_to_save. So a head that shared its matrix with the embedding no
longer does. peft also adds the embedding and the head by itself, if the vocabulary was resized or one of them
is adapted. It loads these into the base, where a shared matrix stays shared.
"""

from collections.abc import Collection, Mapping

import jax
import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.adapters.fields import Fields, is_all_linear, names_module
from lora_jax.huggingface.adapters.folder import PREFIX, Tensors
from lora_jax.huggingface.adapters.modules import IN_MEMORY, name_in_memory
from lora_jax.huggingface.adapters.source import Source
from lora_jax.huggingface.adapters.vectors import Place as Placing
from lora_jax.huggingface.architectures.architecture import Place, name_module, place_weights
from lora_jax.huggingface.checkpoints.tensors import fuse_weights, stored_shape, take_weight
from lora_jax.model.declare import declare

EMBEDDING, HEAD = "embed/tokens", "head"


def is_saved(fields: Fields, name: str) -> bool:
    """Return whether modules_to_save names a module, or one around it. peft's rule does not require a dot."""
    parts = name.split(".")
    inside = [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
    return any(one.endswith(saved) for one in inside for saved in fields.get("modules_to_save") or ())


def separates_head(source: Source) -> bool:
    """Return whether an adapter makes two matrices of an embedding that is also the head.

    Raises:
        LoraJaxError: The adapter keeps them tied in a way that we have no form for, or holds two different
            matrices.
    """
    if not (source.model.tied_head and source.model.has_lm_head):
        return False
    fields = source.fields
    names = [_in_memory(source, path) for path in (EMBEDDING, HEAD)]
    is_adapted = source.kind in ("LORA", "IA3") and not is_all_linear(fields)
    adapted = [name for name in names if is_adapted and names_module(fields, name)]
    if fields.get("ensure_weight_tying"):
        if adapted:
            raise LoraJaxError(
                f"adapter_config.json has ensure_weight_tying with {adapted[0]} among its targets, one update"
                " of two uses of a matrix, which is not supported: merge it into the base in peft."
            )
        return False
    if adapted:
        return True
    first, second = (_find(source, name + ".weight") for name in names)
    is_same = first is not None and second is not None and _equal(source, first, second)
    if any(is_saved(fields, name) for name in names):
        return not is_same
    if first is not None and second is not None and not is_same:
        raise LoraJaxError(
            f"the adapter holds {first} and {second}, which differ, and the base ties the one to the other:"
            " load the base that it was trained on."
        )
    return False


def take_whole(source: Source) -> dict[str, np.ndarray]:
    """Take what an adapter holds whole out of its tensors.

    Returns:
        The weights under our paths, in our shapes, all layers together.

    Raises:
        LoraJaxError: The vocabulary has another size, a shape does not fit, a module is in some layers only,
            or the file lacks a module in modules_to_save.
    """
    _check_vocabulary(source)
    _share(source)
    by_path: dict[str, list[Place]] = {}
    for place in place_weights(source.architecture, declare(source.model)):
        by_path.setdefault(place.path, []).append(place)
    taken: dict[str, np.ndarray] = {}
    used: set[str] = set()
    for path, places in by_path.items():
        theirs = [name_in_memory(source.architecture, source.model, place.tensor) for place in places]
        found = {place: _find(source, name) for place, name in zip(places, theirs, strict=True)}
        names = [name for name in found.values() if name is not None]
        for name, stored in zip(theirs, found.values(), strict=True):
            if stored is None and (names or is_saved(source.fields, name.rpartition(".")[0])):
                why = "it has in other layers" if names else "modules_to_save of its config names"
                raise LoraJaxError(
                    f"the adapter lacks {name} whole, which {why}: save it again, or merge it into the base"
                    " in peft."
                )
        if names:
            weights = [_take(source, place, name) for place, name in found.items() if name is not None]
            taken[path] = weights[0] if places[0].layer is None else np.stack(weights)
            used.update(names)
    for name in used:
        del source.tensors[name]
    return taken


def _share(source: Source) -> None:
    """Give a matrix that embedding and head of the base share to both of them.

    If they stay tied, it goes to the embedding alone.
    """
    if not source.is_tied:
        return
    names = [_in_memory(source, path) for path in (EMBEDDING, HEAD)]
    found = [_find(source, name + ".weight") for name in names]
    if source.model.tied_head:  # it is still one matrix, the embedding's
        if found[1] is not None:
            tensor = source.tensors.pop(found[1])
            if found[0] is None:
                source.tensors[f"{PREFIX}{names[0]}.weight"] = tensor
        return
    for one, other in ((0, 1), (1, 0)):
        stored = found[one]
        if stored is not None and found[other] is None and not is_saved(source.fields, names[one]):
            source.tensors[f"{PREFIX}{names[other]}.weight"] = source.tensors[stored]


def _check_vocabulary(source: Source) -> None:
    V, D = source.model.vocab_size, source.model.d_model
    for path in (EMBEDDING, HEAD):
        if path not in source.architecture.modules:
            continue
        stored = _find(source, _in_memory(source, path) + ".weight")
        shape = source.tensors[stored].shape if stored else None
        if shape is not None and len(shape) == 2 and shape[0] != V and shape[1] == D:
            raise LoraJaxError(
                f"the adapter's {stored} has {shape[0]} rows, one a token, and the base has {V}: it was"
                " trained on a base whose vocabulary was resized. Resize the base in transformers"
                f" (resize_token_embeddings({shape[0]})), save it with the adapter's tokenizer, and load"
                " that."
            )


def _take(source: Source, place: Place, name: str) -> np.ndarray:
    tensor, wanted = source.tensors[name], stored_shape(place)
    if tensor.shape != wanted:
        raise LoraJaxError(
            f"the adapter's {name} has the shape {tensor.shape}, this model wants {wanted}: load the base"
            " that it was trained on."
        )
    return take_weight(tensor, place)


def _in_memory(source: Source, path: str) -> str:
    name = name_module(source.architecture, source.model, path)
    return IN_MEMORY.get(name, name)


def _find(source: Source, name: str) -> str | None:
    """Return the name of a base's tensor in the adapter's file. None if it is not there."""
    module, _, leaf = name.rpartition(".")
    names = (f"{PREFIX}{module}.base_layer.{leaf}", f"{PREFIX}{name}")
    return next((one for one in names if one in source.tensors), None)


def _equal(source: Source, first: str, second: str) -> bool:
    return np.array_equal(source.tensors[first], source.tensors[second])


def export_whole(
    place: Placing, weights: Tensors, base: Mapping[str, jax.Array], replaced: Collection[str]
) -> tuple[list[str], Tensors]:
    """Return the names for modules_to_save, and the tensors of modules that are exported whole.

    A matrix that is also adapted is written as peft writes it, under the adapter. A tied head is written
    together with its embedding, because peft would keep the old one.

    Args:
        place: What the adapter goes onto.
        weights: The adapter's weights. Those at the model's own paths are exported whole, such as a
            classifier's.
        base: The weights of the base.
        replaced: Paths of `base` that are exported whole as well.
    """
    architecture, model = place
    specs = declare(model)
    chosen = (set(replaced) | weights.keys()) & specs.keys()
    places: dict[str, list[Place]] = {}
    for one in place_weights(architecture, specs):
        places.setdefault(name_in_memory(architecture, model, one.tensor), []).append(one)
    modules = {
        name.rpartition(".")[0] for name, group in places.items() if any(one.path in chosen for one in group)
    }
    saved: set[str] = set()
    tensors: Tensors = {}
    for name, group in places.items():
        module, _, leaf = name.rpartition(".")
        if module not in modules:
            continue
        tensor = fuse_weights([_layer(one, weights, base) for one in group], group)
        if f"{group[0].path}_lora_a" in weights:
            tensors[f"{PREFIX}{module}.base_layer.{leaf}"] = tensor
            continue
        saved.add(module)
        tensors[f"{PREFIX}{name}"] = tensor
        if group[0].path == EMBEDDING and model.tied_head and model.has_lm_head:
            head = name_module(architecture, model, HEAD)
            head = IN_MEMORY.get(head, head)
            saved.add(head)
            tensors[f"{PREFIX}{head}.weight"] = tensor.copy()
    return sorted(saved), tensors


def _layer(place: Place, weights: Tensors, base: Mapping[str, jax.Array]) -> np.ndarray:
    if place.path not in weights and place.path not in base:
        raise LoraJaxError(
            f"{place.path} goes with the adapter whole, and no base was given that has it: pass its weights."
        )
    weight = weights[place.path] if place.path in weights else base[place.path]
    array = np.asarray(weight, dtype=np.float32)
    return array if place.layer is None else array[place.layer]
