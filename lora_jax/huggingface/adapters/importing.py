"""Read an adapter that peft wrote: find our method for it, and bring its weights into our shapes."""

import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.adapters.fields import (
    DEFAULT_ALPHA,
    DEFAULT_RANK,
    Fields,
    by_name,
)
from lora_jax.huggingface.adapters.folder import PREFIX
from lora_jax.huggingface.adapters.low_rank import Factors, from_factors, split
from lora_jax.huggingface.adapters.modules import AdapterModule, split_rows, whole_name
from lora_jax.huggingface.adapters.source import Source, find_modules, read_source
from lora_jax.huggingface.adapters.whole import separates_head, take_whole
from lora_jax.model.declare import declare
from lora_jax.model.stacks import BLOCKS, TOP_BLOCKS
from lora_jax.params import Params
from lora_jax.peft.low_rank import split_axes
from lora_jax.peft.method import HEAD, MethodConfig, task_head
from lora_jax.peft.methods.dora import DoRA
from lora_jax.peft.methods.ia3 import IA3, INPUTS, OUTPUTS
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.prefix import PREFIX_K, PREFIX_V, Prefix
from lora_jax.peft.methods.prompt import PROMPT, Prompt
from lora_jax.peft.targets import short_name


class Imported(NamedTuple):
    """An adapter.

    Attributes:
        method: Its method.
        trainable: Its weights, under the paths of `adapt`'s trainable tree.
        replaced: Weights that replace the base's and that none of our methods trains. These are a pooler, an
            embedding, a head or a norm named in modules_to_save, and the embedding and head that peft writes
            if they are adapted. `attach_adapter` puts them over the base's.
    """

    method: MethodConfig
    trainable: Params
    replaced: Params


def import_adapter(folder: Path | str, model_type: str, model: ModelConfig) -> Imported:
    """Read an adapter that peft's `save_pretrained` or this program wrote.

    It reads LoRA (and DoRA), IA3, prompt tuning and prefix tuning. An adapter of a fused q, k, v matrix
    becomes three adapters with the same A.

    Args:
        folder: The adapter's folder.
        model_type: The model_type of the base's config.json.
        model: The shape of the base.

    Returns:
        The method and its trained weights.

    Raises:
        LoraJaxError: The adapter has a kind, a field or a set of layers that we do not support; a tensor is
            missing, unexpected or of another shape; or the adapter separates a head from the embedding it is
            tied to, for which the base must be untied first (`attach_adapter`).
    """
    source = read_source(folder, model_type, model)
    if separates_head(source):
        raise LoraJaxError(
            "the adapter changes the embedding or the head alone, and in this base they are one matrix: load"
            " both by attach_adapter of lora_jax.huggingface.adapters.attaching, or `lora-jax merge`, which"
            " untie the base first."
        )
    found = import_source(source)
    for path in sorted(task_head(declare(model)) - found.trainable.keys()):
        raise LoraJaxError(
            f"the adapter lacks a classifier's {path}, which this model trains: load it with its base by"
            " attach_adapter of lora_jax.huggingface.adapters.attaching."
        )
    return found


def import_source(source: Source) -> Imported:
    """Do what `import_adapter` does, for an adapter that is read already. A classifier may be missing."""
    model, kind = source.model, source.kind
    if kind == "LORA":
        method, trainable = _import_low_rank(source)
    elif kind == "IA3":
        method, trainable = _import_ia3(source)
    else:
        method, trainable = _import_prompt(source, kind)
    whole = take_whole(source)
    if source.tensors:
        name = sorted(source.tensors)[0]
        raise LoraJaxError(
            f"the adapter holds {name}, which its config does not ask for ({len(source.tensors)} such"
            " tensors): save it again, or load the base that it was trained on."
        )
    replaced = {path: whole.pop(path) for path in list(whole) if not path.startswith(HEAD)}
    trainable |= whole
    specs, of_base = method.build(model).specs, declare(model)
    for tree, wanted in ((trainable, specs), (replaced, of_base)):
        for path, weight in tree.items():
            assert weight.shape == wanted[path].shape, (path, weight.shape, wanted[path].shape)
    first, second = ({path: jnp.asarray(w) for path, w in tree.items()} for tree in (trainable, replaced))
    return Imported(method, first, second)


def _import_low_rank(source: Source) -> tuple[LoRA | DoRA, dict[str, np.ndarray]]:
    fields, model = source.fields, source.model
    chosen = find_modules(source)
    is_top = len(chosen.layers) < model.n_layers
    segment = TOP_BLOCKS if is_top else BLOCKS
    trainable: dict[str, np.ndarray] = {}
    ranks: dict[str, int] = {}
    alphas: dict[str, float] = {}
    for module in chosen.modules:
        factors = _take_factors(source, module, chosen.layers)
        paths = module.whole_paths(segment)
        for index, part in split(module, factors, model.n_heads).items():
            path, spec = paths[index]
            trainable[f"{path}_lora_a"], trainable[f"{path}_lora_b"] = from_factors(part, spec)
            if part.magnitude_YM is not None:
                stack, _, outputs = split_axes(spec)
                shape = (*([len(part.a_YRI)] if stack else []), *(n for _, n in outputs))
                trainable[f"{path}_dora_m"] = part.magnitude_YM.reshape(shape)
            name = short_name(path) or path
            ranks[name] = part.rank
            power = 0.5 if fields.get("use_rslora") else 1.0
            alphas[name] = round(part.scale * part.rank**power, 9)
    rank = Counter(ranks.values()).most_common(1)[0][0]
    alpha = Counter(alphas.values()).most_common(1)[0][0]
    choice: dict[str, Any] = dict(
        rank=rank,
        alpha=alpha,
        targets=tuple(ranks),
        ranks=tuple((name, one) for name, one in ranks.items() if one != rank),
        alphas=tuple((name, one) for name, one in alphas.items() if one != alpha),
        rslora=bool(fields.get("use_rslora")),
        dropout=fields.get("lora_dropout") or 0.0,
        top_layers=len(chosen.layers) if is_top else None,
    )
    if fields.get("use_dora"):
        return DoRA(**choice), trainable
    is_normal = fields.get("init_lora_weights") == "gaussian"
    return LoRA(**choice, init="normal" if is_normal else "uniform"), trainable


def _take_factors(source: Source, module: AdapterModule, layers: list[int]) -> Factors:
    """Return a module's factors in all its layers. Rank and alpha must agree between layers."""
    fields, architecture, model = source.fields, source.architecture, source.model
    names = [
        whole_name(architecture, model, module, layer) for layer in (layers if module.in_block else [None])
    ]

    def one(pattern: str, key: str, default: float) -> Any:
        values = {name: by_name(fields.get(pattern), name, fields.get(key, default)) for name in names}
        if len(set(values.values())) > 1:
            raise LoraJaxError(
                f"the adapter's {pattern} gives {module.name} other values in other layers ({values}): only"
                " one value for all layers can be imported, merge it into the base in peft."
            )
        return next(iter(values.values()))

    rank, alpha = one("rank_pattern", "r", DEFAULT_RANK), one("alpha_pattern", "lora_alpha", DEFAULT_ALPHA)
    n_in, n_out = module.n_in, sum(module.n_out)
    if module.is_embedding:
        first, second = "lora_embedding_A", "lora_embedding_B"
    else:
        first, second = "lora_A.weight", "lora_B.weight"
    a = np.stack([source.take(f"{PREFIX}{name}.{first}", (rank, n_in)) for name in names])
    b = np.stack([source.take(f"{PREFIX}{name}.{second}", (n_out, rank)) for name in names])
    magnitude = None
    if fields.get("use_dora"):
        magnitude = np.stack(
            [source.take(f"{PREFIX}{name}.lora_magnitude_vector", (n_out,)) for name in names]
        )
    return Factors(a, b, alpha / (rank**0.5 if fields.get("use_rslora") else rank), magnitude)


def _import_ia3(source: Source) -> tuple[IA3, dict[str, np.ndarray]]:
    """Import IA3.

    Ours scales k, v and down, and all three must be there. It must leave q of a fused matrix alone.
    """
    fields, architecture, model = source.fields, source.architecture, source.model
    chosen = find_modules(source)
    trainable: dict[str, np.ndarray] = {}
    for module in chosen.modules:
        if not module.in_block:
            raise LoraJaxError(
                f"the adapter scales {module.name}, IA3 here scales {', '.join((*OUTPUTS, *INPUTS))}: merge"
                " it into the base in peft."
            )
        is_input = _is_feedforward(fields, whole_name(architecture, model, module, 0))
        n = module.n_in if is_input else sum(module.n_out)
        shape = (1, n) if is_input else (n, 1)
        names = [whole_name(architecture, model, module, layer) for layer in chosen.layers]
        scale_YMC = np.stack([source.take(f"{PREFIX}{name}.ia3_l", shape) for name in names])
        parts = [scale_YMC.swapaxes(1, 2)] if is_input else split_rows(module, scale_YMC, model.n_heads)
        for (path, spec), part in zip(module.whole_paths(""), parts, strict=True):
            wanted = INPUTS if is_input else OUTPUTS
            if path in wanted:
                inner = spec.shape[1:-1] if is_input else spec.shape[2:]
                trainable[f"{BLOCKS}{path}_ia3"] = part.reshape(len(part), *inner)
            elif not np.all(part == 1):
                raise LoraJaxError(
                    f"the adapter scales {'what enters' if is_input else 'the output of'} {path}, IA3 here"
                    f" scales {', '.join((*OUTPUTS, *INPUTS))}: merge it into the base in peft."
                )
    missing = [path for path in (*OUTPUTS, *INPUTS) if f"{BLOCKS}{path}_ia3" not in trainable]
    if missing or len(chosen.layers) < model.n_layers:
        raise LoraJaxError(
            f"the adapter leaves {', '.join(missing) or 'the lower layers'} alone, IA3 here scales"
            f" {', '.join((*OUTPUTS, *INPUTS))} of every layer: merge it into the base in peft."
        )
    return IA3(), trainable


def _is_feedforward(fields: Fields, name: str) -> bool:
    """Return whether a module is feed-forward by peft's rule, which requires no dot before the name."""
    modules = fields.get("feedforward_modules") or ()
    if isinstance(modules, str):
        return re.fullmatch(modules, name) is not None
    return any(name.endswith(one) for one in modules)


def _import_prompt(source: Source, kind: str) -> tuple[Prompt | Prefix, dict[str, np.ndarray]]:
    fields, model = source.fields, source.model
    if model.n_classes is not None or not model.causal:
        raise LoraJaxError(
            f"the adapter is {kind} of a classifier or an encoder, which peft reads at another position than"
            " we do: import LoRA or IA3, or merge it in peft where it can be."
        )
    length = int(fields.get("num_virtual_tokens") or 0)
    if kind == "PROMPT_TUNING":
        table_PD = source.take("prompt_embeddings", (length, model.d_model))
        return Prompt(length=length), {PROMPT: table_PD}
    J, K, Y = model.kv_heads, model.head_dim, model.n_layers
    table = source.take("prompt_embeddings", (length, 2 * Y * J * K))
    k_v_YCPJK = table.reshape(length, Y, 2, J, K).transpose(1, 2, 0, 3, 4)
    weights = {BLOCKS + PREFIX_K: k_v_YCPJK[:, 0], BLOCKS + PREFIX_V: k_v_YCPJK[:, 1]}
    return Prefix(length=length), weights
