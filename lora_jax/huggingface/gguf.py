"""Convert a Llama in a GGUF file, the format of llama.cpp, to Hugging Face's tensors and settings."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.files import write_atomically
from lora_jax.huggingface.gguf_tokenizer import make_tokenizer

# Hugging Face's names, by llama.cpp's. In a block, "blk.N." stands in front there and "model.layers.N." here.
OUTSIDE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
IN_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


class GGUFModel(NamedTuple):
    """What a GGUF file holds, in the form of a Hugging Face folder.

    Attributes:
        config: Its config.json.
        tensors: Its model.safetensors: float32, matrices as (out, in).
        metadata: The GGUF file's own keys, those of the tokenizer included.
    """

    config: dict[str, Any]
    tensors: dict[str, np.ndarray]
    metadata: dict[str, Any]


def read_gguf(path: Path) -> GGUFModel:
    """Read a GGUF file of the llama architecture and dequantise it to float32.

    Raises:
        LoraJaxError: There is no such file, it is no GGUF or cut short, we do not know its architecture,
            quantisation, rotary scaling or a tensor, or a tensor or key is missing.
    """
    reader = _open(path)
    metadata = {name: field.contents() for name, field in reader.fields.items()}
    config = _make_config(path, metadata, {tensor.name for tensor in reader.tensors})
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    tensors: dict[str, np.ndarray] = {}
    for tensor in reader.tensors:
        name = rename(tensor.name)
        if name is None:
            raise LoraJaxError(
                f"{path} has the tensor {tensor.name!r}, which a plain Llama has not: it cannot be converted."
            )
        values = _dequantise(path, tensor)
        n_heads = heads.get(name.split(".")[-2])
        tensors[name] = values if n_heads is None else unpermute(values, n_heads)
    _check_complete(path, config, tensors)
    return GGUFModel(config, tensors, metadata)


def _open(path: Path) -> Any:
    try:
        from gguf import GGUFReader
    except ImportError:
        raise LoraJaxError(
            f"{path} is read by the package gguf, which is not installed: pip install 'lora-jax[gguf]'."
        ) from None
    if not path.is_file():
        raise LoraJaxError(f"there is no GGUF file {path}: give the path of one.")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise LoraJaxError(f"{path} is no GGUF file, it does not begin with GGUF: give another.")
    try:
        return GGUFReader(path)
    except (ValueError, IndexError, KeyError, OverflowError) as error:  # it read beyond the file's end
        raise LoraJaxError(f"{path} is cut short or damaged ({error}): fetch it again.") from None


def rename(name: str) -> str | None:
    """Return the Hugging Face name of a tensor of llama.cpp. None if a plain Llama has no such tensor."""
    if name in OUTSIDE:
        return OUTSIDE[name]
    found = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
    if found is None or found[2] not in IN_BLOCK:
        return None
    return f"model.layers.{found[1]}.{IN_BLOCK[found[2]]}.weight"


def unpermute(w_OI: np.ndarray, n_heads: int) -> np.ndarray:
    """Undo llama.cpp's order of the rows of q and k.

    llama.cpp rotates neighbours, (0, 1), (2, 3), ... Hugging Face rotates the halves of a head, (0, K/2), (1,
    K/2 + 1), ... So row 2i + j of a head goes back to row i + j K/2.
    """
    pairs_HPJI = w_OI.reshape(n_heads, -1, 2, w_OI.shape[1])
    return np.ascontiguousarray(pairs_HPJI.swapaxes(1, 2).reshape(w_OI.shape))


def _dequantise(path: Path, tensor: Any) -> np.ndarray:
    from gguf.quants import dequantize

    try:
        return dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
    except NotImplementedError:
        raise LoraJaxError(
            f"{path} keeps {tensor.name} as {tensor.tensor_type.name}, a quantisation that the package gguf"
            " does not undo: take a file of another, such as Q8_0 or F16."
        ) from None


def _make_config(path: Path, metadata: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Return config.json. The specification of GGUF describes its keys under "LLM"."""
    architecture = metadata.get("general.architecture")
    if architecture != "llama":
        raise LoraJaxError(f"{path} is of the architecture {architecture!r}, only 'llama' can be converted.")

    def get(key: str, default: Any = None) -> Any:
        value = metadata.get(f"llama.{key}", default)
        if value is None:
            raise LoraJaxError(f"{path} does not say llama.{key}: it cannot be converted.")
        return value

    d_model, n_heads = get("embedding_length"), get("attention.head_count")
    head_dim = get("attention.key_length", d_model // n_heads)
    scaling = get("rope.scaling.type", "none")
    if scaling != "none" or "rope_freqs.weight" in names:
        kind = scaling if scaling != "none" else "rope_freqs"
        raise LoraJaxError(f"{path} stretches its rotary positions ({kind}), which cannot be converted.")
    if get("rope.dimension_count", head_dim) != head_dim:
        raise LoraJaxError(
            f"{path} rotates {get('rope.dimension_count')} of the {head_dim} numbers of a head, a Llama all."
        )
    if get("expert_count", 0):
        raise LoraJaxError(f"{path} has {get('expert_count')} experts a layer: only dense Llamas are read.")
    tokens = metadata.get("tokenizer.ggml.tokens")
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": d_model,
        "intermediate_size": get("feed_forward_length"),
        "num_hidden_layers": get("block_count"),
        "num_attention_heads": n_heads,
        "num_key_value_heads": get("attention.head_count_kv", n_heads),
        "head_dim": head_dim,
        "max_position_embeddings": get("context_length"),
        "rms_norm_eps": shorten(get("attention.layer_norm_rms_epsilon")),
        "rope_theta": shorten(get("rope.freq_base", 10_000.0)),
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": "output.weight" not in names,
        "vocab_size": get("vocab_size", len(tokens) if tokens else None),
        "torch_dtype": "float32",
    }
    for name in ("bos", "eos"):
        token = metadata.get(f"tokenizer.ggml.{name}_token_id")
        if token is not None:
            config[f"{name}_token_id"] = token
    return config


def shorten(value: float) -> float:
    """Return the shortest decimal with the same float32. GGUF keeps 1e-5 as 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _check_complete(path: Path, config: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    wanted = ["model.embed_tokens.weight", "model.norm.weight"]
    for layer in range(config["num_hidden_layers"]):
        wanted += [f"model.layers.{layer}.{name}.weight" for name in IN_BLOCK.values()]
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise LoraJaxError(f"{path} lacks {len(missing)} tensors, {missing[0]} the first: fetch it again.")
    rows = len(tensors["model.embed_tokens.weight"])
    if rows != config["vocab_size"]:
        raise LoraJaxError(
            f"{path} says {config['vocab_size']} tokens and embeds {rows}: it is damaged, fetch it again."
        )


def convert_gguf(path: Path, folder: Path) -> None:
    """Write a GGUF file as a Hugging Face folder: float32 weights, config.json and the tokenizer's files.

    We make the folder if it is missing. A file that we cannot read is refused before anything is written.

    Raises:
        LoraJaxError: `read_gguf` or `make_tokenizer` refuses the file.
    """
    from safetensors.numpy import save

    model = read_gguf(path)
    texts = make_tokenizer(model.metadata, str(path))
    texts["config.json"] = json.dumps(model.config, indent=1)
    for name, text in texts.items():
        write_atomically(folder / name, text)
    write_atomically(folder / "model.safetensors", save(model.tensors, metadata={"format": "pt"}))
