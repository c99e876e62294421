"""An adapter that is being read: its tensors, taken one by one, and the modules that its config names."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.adapters.fields import (
    Fields,
    check_fields,
    is_all_linear,
    names_module,
    refuse_none,
)
from lora_jax.huggingface.adapters.folder import PREFIX, Tensors, read_folder
from lora_jax.huggingface.adapters.modules import (
    IN_MEMORY,
    AdapterModule,
    is_head,
    list_modules,
    whole_name,
)
from lora_jax.huggingface.architectures.architecture import Architecture, find_architecture


class Source(NamedTuple):
    """An adapter that is being read.

    We take tensors out as we use them. So what is left was not expected.

    Attributes:
        kind: Its peft_type.
        fields: Its adapter_config.json.
        tensors: Its tensors that were not taken yet.
        architecture: The architecture of the base.
        model: The model that the adapter goes onto.
        is_tied: Whether the base's head is its embedding. The adapted model's need not be
            (`whole.separates_head`).
    """

    kind: str
    fields: Fields
    tensors: Tensors
    architecture: Architecture
    model: ModelConfig
    is_tied: bool

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Take the tensor with this name and shape out.

        Raises:
            LoraJaxError: It is missing, or has another shape.
        """
        if name not in self.tensors:
            raise LoraJaxError(
                f"the adapter lacks the tensor {name}, which its config asks for: save it again."
            )
        tensor = self.tensors.pop(name)
        if tensor.shape != shape:
            raise LoraJaxError(
                f"the adapter's {name} has the shape {tensor.shape}, this model wants {shape}: load the base"
                " that it was trained on."
            )
        return tensor


def read_source(folder: Path | str, model_type: str, model: ModelConfig) -> Source:
    """Read a folder. Modules that have other names in older versions of transformers get today's names.

    Raises:
        LoraJaxError: `read_folder` or `check_fields` refuses it.
    """
    fields, tensors = read_folder(Path(folder))
    for old, new in IN_MEMORY.items():
        lead = f"{PREFIX}{old}."
        tensors = {name.replace(lead, f"{PREFIX}{new}."): tensor for name, tensor in tensors.items()}
    for key in ("target_modules", "modules_to_save"):
        if isinstance(fields.get(key), list):
            fields = {**fields, key: [IN_MEMORY.get(name, name) for name in fields[key]]}
    is_tied = model.tied_head and model.has_lm_head
    return Source(check_fields(fields, model), fields, tensors, find_architecture(model_type), model, is_tied)


class Chosen(NamedTuple):
    """The modules that an adapter is on.

    Attributes:
        modules: The modules.
        layers: Layers of the modules inside blocks: all layers, or the last ones.
    """

    modules: list[AdapterModule]
    layers: list[int]


def find_modules(source: Source) -> Chosen:
    """Return the modules that a config names, and their layers. All modules must be in the same layers.

    Raises:
        LoraJaxError: The config names no module, one for which we have no form, or layers that are not the
            last ones.
    """
    fields, architecture, model = source.fields, source.architecture, source.model
    found: dict[str, list[int]] = {}
    modules = list_modules(architecture, model)
    every = range(model.n_layers)
    for module in modules:
        if is_all_linear(fields) and not module.in_block and module.paths != ("pooler",):
            continue  # "all-linear" leaves out the head and the embedding
        for layer in every if module.in_block else [None]:
            name = whole_name(architecture, model, module, layer)
            if is_all_linear(fields) or names_module(fields, name):
                found.setdefault(module.name, []).append(-1 if layer is None else layer)
    refuse_none(list(found), fields, architecture.model_type, (m.name.split(".")[-1] for m in modules))
    chosen = [module for module in modules if module.name in found]
    heads = [module.name for module in chosen if is_head(module)]
    if heads:
        raise LoraJaxError(
            f"the adapter is on {heads[0]}, a classifier's head, which trains whole here: merge it into the"
            " base in peft, or name it in modules_to_save."
        )
    sets = {module.name: found[module.name] for module in chosen if module.in_block}
    layers = next(iter(sets.values()), list(every))
    for name, own in sets.items():
        if own != layers:
            raise LoraJaxError(
                f"the adapter is on {name} in layers {own} and on {next(iter(sets))} in layers {layers}: only"
                " the same layers for all modules can be imported."
            )
    if layers != list(every[len(every) - len(layers) :]):
        raise LoraJaxError(
            f"the adapter is on the layers {layers} of {model.n_layers}: only all layers or the last ones can"
            " be imported, merge it into the base in peft."
        )
    return Chosen(chosen, layers)
