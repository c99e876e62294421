"""Which tensor of a folder's files is which of our weights, and what is missing, unexpected or left out."""

import re
from collections.abc import Mapping

import numpy as np

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.architectures.architecture import Architecture, Json, Place
from lora_jax.huggingface.checkpoints.description import is_classifier, is_of_another_task
from lora_jax.huggingface.checkpoints.shards import Stored, list_names
from lora_jax.huggingface.checkpoints.tensors import stored_shape


def match_names(
    architecture: Architecture, config: ModelConfig, source: Json, stored: Stored, places: list[Place]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Match the tensors of a folder's files with our places.

    Files may leave the root prefix out (the first GPT-2, bare encoders), or use an older name.

    Returns:
        The name in the files of each tensor, by our name of it. Then the tensors of heads that are left out.

    Raises:
        LoraJaxError: The files hold a tensor that the architecture does not have.
    """
    wanted = {place.tensor for place in places}
    if "classifier" in {p.path for p in places} and is_of_another_task(source):
        # another task's classifier is not ours
        wanted -= {p.tensor for p in places if p.path.startswith("classifier")}
    names: dict[str, str] = {}
    unexpected: list[str] = []
    left_out: list[str] = []
    for stored_name in stored.files:
        name = architecture.other_names.get(stored_name, stored_name)
        if name not in wanted and architecture.root + name in wanted:
            name = architecture.root + name
        if name in wanted and name not in names:
            names[name] = stored_name
        elif _is_one_of(architecture.heads, name):
            left_out.append(stored_name)
        elif not _is_one_of(architecture.skipped, name):
            unexpected.append(stored_name)
    if unexpected:
        raise LoraJaxError(
            f"{stored.folder} has tensors that no {architecture.model_type} of its config.json has:"
            f" {list_names(unexpected)}: is it another architecture?"
        )
    return names, _drop_tied_head(architecture, config, stored, names, left_out)


def _drop_tied_head(
    architecture: Architecture,
    config: ModelConfig,
    stored: Stored,
    names: dict[str, str],
    left_out: list[str],
) -> tuple[str, ...]:
    """Drop a tied head that is stored too. It must then equal the embedding."""
    if not (config.has_lm_head and config.tied_head):
        return tuple(left_out)
    head = f"{architecture.modules['head'].name}.weight"
    table = names.get(f"{architecture.modules['embed/tokens'].name}.weight")
    for name in left_out:
        if architecture.other_names.get(name, name) != head or table is None:
            continue
        if not np.array_equal(stored.read(name), stored.read(table)):
            raise LoraJaxError(
                f"config.json of {stored.folder} ties the head to the embedding, but {name} and {table}"
                " differ: set tie_word_embeddings to false."
            )
    return tuple(name for name in left_out if architecture.other_names.get(name, name) != head)


def _is_one_of(patterns: tuple[str, ...], name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def find_new(source: Json, places: list[Place], names: Mapping[str, str]) -> set[str]:
    """Return the weights of a head that was asked for and that the files lack as a whole."""
    if is_classifier(source):
        return set()
    new: set[str] = set()
    for head in ("classifier", "pooler"):
        of_head = [place for place in places if place.path.removesuffix("_bias") == head]
        if not any(place.tensor in names for place in of_head):
            new |= {place.path for place in of_head}
    return new


def check_tensors(stored: Stored, places: list[Place], names: Mapping[str, str]) -> None:
    """Check that the files have every tensor, in the shape that config.json wants.

    Raises:
        LoraJaxError: A tensor is missing or has another shape.
    """
    missing = {place.tensor for place in places} - names.keys()
    if missing:
        raise LoraJaxError(f"{stored.folder} lacks the tensors {list_names(missing)}: fetch it again.")
    for place in places:
        got, wanted = stored.shape(names[place.tensor]), stored_shape(place)
        if got != wanted:
            raise LoraJaxError(
                f"{names[place.tensor]} in {stored.folder} has the shape {got}, config.json wants {wanted}:"
                " they do not belong together."
            )
