"""Write an adapter so that an unmodified peft loads it onto its base without a warning."""

from collections import Counter
from collections.abc import Collection
from pathlib import Path

import numpy as np

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.adapters.fields import Fields, common_fields
from lora_jax.huggingface.adapters.folder import PREFIX, Tensors, write_folder
from lora_jax.huggingface.adapters.low_rank import Factors, fuse, to_factors
from lora_jax.huggingface.adapters.modules import (
    AdapterModule,
    Naming,
    choose_names,
    list_modules,
    whole_name,
)
from lora_jax.huggingface.adapters.vectors import Place, export_ia3, export_prompt, export_vera
from lora_jax.huggingface.adapters.whole import export_whole
from lora_jax.huggingface.architectures.architecture import find_architecture
from lora_jax.model.stacks import BLOCKS, TOP_BLOCKS, split_blocks
from lora_jax.params import Params, Spec
from lora_jax.peft.low_rank import split_axes
from lora_jax.peft.method import MethodConfig, adapt
from lora_jax.peft.methods.dora import DoRA
from lora_jax.peft.methods.ia3 import IA3
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.pissa import PiSSA
from lora_jax.peft.methods.prefix import Prefix
from lora_jax.peft.methods.prompt import Prompt
from lora_jax.peft.methods.vera import VeRA

LowRank = LoRA | DoRA | PiSSA
EXPORTED = (LoRA, DoRA, PiSSA, VeRA, IA3, Prompt, Prefix)


def export_adapter(
    folder: Path | str,
    base_name: str,
    model_type: str,
    model: ModelConfig,
    method: MethodConfig,
    trainable: Params,
    base: Params | None = None,
    replaced: Collection[str] = (),
) -> None:
    """Write an adapter for peft: adapter_config.json and adapter_model.safetensors, whole or not at all.

    The tensors are float32. If q, k and v share a matrix, we write them as one adapter with the sum of their
    ranks. peft has one fan_in_fan_out for a whole adapter. If GPT-2's untied head, a Linear, is adapted
    beside its Conv1Ds, peft warns but loads it.

    Args:
        folder: Where to write.
        base_name: The base's folder or name, as peft will look for it.
        model_type: The model_type of the base's config.json.
        model: The shape of the base.
        method: The method.
        trainable: The trained weights, from `adapt`.
        base: The base's own weights. Two cases need them. We write PiSSA as a LoRA of twice the rank, s (B A
            - B0 A0), which stands on the base and not on its remainder. DoRA of a part of a fused matrix
            needs the base's norms for the other parts.
        replaced: Paths of `base` whose weights the base of that name does not have (`Attached.replaced`). The
            adapter holds them whole, like a classifier's head.

    Raises:
        LoraJaxError: peft has no form for the method, or the folder holds something else than an adapter.
    """
    place = Place(find_architecture(model_type), model)
    weights = {path: np.asarray(weight, dtype=np.float32) for path, weight in trainable.items()}
    if isinstance(method, LowRank):
        fields, tensors = _export_low_rank(place, method, weights, base)
    elif isinstance(method, IA3):
        fields, tensors = export_ia3(place, weights)
    elif isinstance(method, VeRA):
        fields, tensors = export_vera(place, method, weights)
    elif isinstance(method, Prompt | Prefix):
        fields, tensors = export_prompt(place, method, weights)
    else:
        names = ", ".join(kind.__name__ for kind in EXPORTED)
        raise LoraJaxError(
            f"peft has no adapter of the kind {type(method).__name__}: merge it and save the whole model, or"
            f" train one of {names}."
        )
    saved, whole = export_whole(place, weights, base or {}, replaced)
    if saved:
        if isinstance(method, Prompt | Prefix):
            raise LoraJaxError(
                f"{type(method).__name__} in peft keeps no modules whole, and {saved[0]} is not the base's:"
                " merge nothing and keep our own checkpoint, or save the base with it first."
            )
        fields["modules_to_save"] = saved
    write_folder(Path(folder), {**fields, "base_model_name_or_path": base_name}, tensors | whole)


def _export_low_rank(
    place: Place, method: LowRank, weights: Tensors, base: Params | None
) -> tuple[Fields, Tensors]:
    architecture, model = place
    modules = list_modules(architecture, model)
    segment = TOP_BLOCKS if method.top_layers else BLOCKS
    layers = list(range(model.n_layers - (method.top_layers or model.n_layers), model.n_layers))
    start = _start(place, method, base)
    factors: dict[str, Factors] = {}
    for module in modules:
        parts = {
            index: _take(method, weights, start, path, spec)
            for index, (path, spec) in enumerate(module.whole_paths(segment))
            if f"{path}_lora_a" in weights
        }
        if parts:
            norms = _norms(method, module, segment, base) if len(parts) < len(module.paths) else {}
            factors[module.name] = fuse(module, parts, model.n_heads, norms)
    adapted = [module for module in modules if module.name in factors]
    naming = choose_names(architecture, model, adapted, layers)
    tensors: Tensors = {}
    for module in adapted:
        for y, layer in enumerate(layers if module.in_block else [None]):
            name = PREFIX + whole_name(architecture, model, module, layer)
            tensors |= _name_factors(name, factors[module.name], y, module.is_embedding)
    return _low_rank_fields(place, method, adapted, factors, naming), tensors


def _start(place: Place, method: LowRank, base: Params | None) -> Tensors:
    """Return PiSSA's factors at the start, which were taken out of the base. Other methods have none."""
    if not isinstance(method, PiSSA):
        return {}
    if base is None:
        raise LoraJaxError(
            "PiSSA's adapter is exported as a change of the base, and no base was given: pass its weights."
        )
    start = adapt(base, method.build(place.model), 0).trainable
    return {path: np.asarray(weight, dtype=np.float32) for path, weight in start.items()}


def _take(method: LowRank, weights: Tensors, start: Tensors, path: str, spec: Spec) -> Factors:
    a, b = f"{path}_lora_a", f"{path}_lora_b"
    factors = to_factors(weights[a], weights[b], spec, method.scale(path))
    if isinstance(method, PiSSA):
        first = to_factors(start[a], start[b], spec, method.scale(path))
        a_YRI = np.concatenate([factors.a_YRI, first.a_YRI], axis=1)
        b_YMR = np.concatenate([factors.b_YMR, -first.b_YMR], axis=2)
        return Factors(a_YRI, b_YMR, factors.scale)
    if isinstance(method, DoRA):
        return factors._replace(magnitude_YM=weights[f"{path}_dora_m"].reshape(len(factors.a_YRI), -1))
    return factors


def _norms(
    method: LowRank, module: AdapterModule, segment: str, base: Params | None
) -> dict[int, np.ndarray]:
    """Return the norms (Y, P) of the parts that DoRA does not adapt. They serve as their magnitudes."""
    if not isinstance(method, DoRA) or base is None:
        return {}
    split = split_blocks(base, method.top_layers or 0)
    norms: dict[int, np.ndarray] = {}
    for index, (path, spec) in enumerate(module.whole_paths(segment)):
        stack, inputs, _ = split_axes(spec)
        axes = tuple(range(len(stack), len(stack) + len(inputs)))
        weight = np.asarray(split[path], dtype=np.float32)
        norms[index] = np.sqrt(np.square(weight).sum(axes)).reshape(len(weight), -1)
    return norms


def _name_factors(name: str, factors: Factors, y: int, is_embedding: bool) -> Tensors:
    a_RI, b_MR = factors.a_YRI[y], factors.b_YMR[y]
    if is_embedding:
        tensors = {f"{name}.lora_embedding_A": a_RI, f"{name}.lora_embedding_B": b_MR}
    else:
        tensors = {f"{name}.lora_A.weight": a_RI, f"{name}.lora_B.weight": b_MR}
    if factors.magnitude_YM is not None:
        tensors[f"{name}.lora_magnitude_vector"] = factors.magnitude_YM[y]
    return tensors


def _low_rank_fields(
    place: Place, method: LowRank, adapted: list[AdapterModule], factors: dict[str, Factors], naming: Naming
) -> Fields:
    ranks = {name: one.rank for name, one in factors.items()}
    power = 0.5 if method.rslora else 1.0
    alphas = {name: _tidy(one.scale * one.rank**power) for name, one in factors.items()}
    rank, alpha = (Counter(table.values()).most_common(1)[0][0] for table in (ranks, alphas))
    return {
        **common_fields("LORA", place.model),
        "target_modules": naming.flat,
        "layers_to_transform": naming.layers,
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {n: r for key, r in ranks.items() if r != rank for n in naming.names[key]},
        "alpha_pattern": {n: a for key, a in alphas.items() if a != alpha for n in naming.names[key]},
        "lora_dropout": method.dropout,
        "bias": "none",
        "fan_in_fan_out": any(module.is_conv for module in adapted),
        "use_rslora": method.rslora,
        "use_dora": any(one.magnitude_YM is not None for one in factors.values()),
        "init_lora_weights": True,
    }


def _tidy(alpha: float) -> float | int:
    """Return alpha without the rounding of alpha / r * r. It is an int if it is whole."""
    rounded = round(alpha, 9)
    return int(rounded) if rounded == int(rounded) else rounded
