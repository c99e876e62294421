"""A GGUF file made by hand with the gguf package, read back under Hugging Face's names."""

import json
from pathlib import Path
from typing import Any

import gguf
import jax.numpy as jnp
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from safetensors.numpy import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from lora_jax.config import LLAMA, ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.gguf import convert_gguf, read_gguf, unpermute
from lora_jax.huggingface.gguf_tokenizer import make_tokenizer
from lora_jax.huggingface.tokenizer import load_tokenizer
from lora_jax.model.layers import rope

D, HEADS, KV_HEADS, K, F = 64, 4, 2, 16, 96
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXTS = [
    "In 2024 it cost 1,350 euros.",
    "  two  spaces\n\tand don't",
    "naïve 日本 🙂",
    "<|im_start|>user\nhi<|im_end|>",
]


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    """A byte-level BPE with SmolLM's cutting, trained here: what the GGUF's one should be equal to.

    It is trained without the cutting of numbers, so that its merges would join digits that are not cut.
    """
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = byte_level
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=288, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["the cost of two spaces and the user in 2024 2024"] * 4, trainer)
    assert len(tokenizer.encode(" 2024").ids) == 1
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), byte_level]
    )
    return tokenizer


@pytest.fixture(scope="module")
def values(bpe: Tokenizer) -> dict[str, tuple[np.ndarray, Kind]]:
    """Return every tensor of a one-layer Llama in llama.cpp's names, as drawn, and how it is to be kept."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    return {
        "token_embd.weight": (draw(bpe.get_vocab_size(), D), Kind.Q8_0),
        "output_norm.weight": (draw(D), Kind.F32),
        "blk.0.attn_norm.weight": (draw(D), Kind.F32),
        "blk.0.attn_q.weight": (draw(HEADS * K, D), Kind.F32),
        "blk.0.attn_k.weight": (draw(KV_HEADS * K, D), Kind.F32),
        "blk.0.attn_v.weight": (draw(KV_HEADS * K, D), Kind.F16),
        "blk.0.attn_output.weight": (draw(D, HEADS * K), Kind.BF16),
        "blk.0.ffn_norm.weight": (draw(D), Kind.F32),
        "blk.0.ffn_gate.weight": (draw(F, D), Kind.Q4_1),
        "blk.0.ffn_up.weight": (draw(F, D), Kind.Q8_0),
        "blk.0.ffn_down.weight": (draw(D, F), Kind.Q4_1),
    }


def write(path: Path, bpe: Tokenizer, values: dict[str, tuple[np.ndarray, Kind]], **change: Any) -> Path:
    """Write a GGUF file; change: architecture, pre, model, or further uint32 keys of the architecture."""
    architecture = change.pop("architecture", "llama")
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(1)
    writer.add_context_length(32)
    writer.add_embedding_length(D)
    writer.add_feed_forward_length(F)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(100_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    tokens = [str(bpe.id_to_token(i)) for i in range(bpe.get_vocab_size())]
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model(change.pop("model", "gpt2"))
    writer.add_tokenizer_pre(change.pop("pre", "smollm"))
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    for key, value in change.items():
        writer.add_uint32(f"{architecture}.{key}", value)
    for name, (array, kind) in values.items():
        kept = array if kind == Kind.F32 else gguf.quants.quantize(array, kind)
        writer.add_tensor(name, kept, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def dequantise(array: np.ndarray, kind: Kind) -> np.ndarray:
    """What the format's definition gives back: blocks of 32 with a float16 scale, and an offset in Q4_1."""
    if kind == Kind.F32:
        return array
    if kind == Kind.F16:
        return array.astype(np.float16).astype(np.float32)
    if kind == Kind.BF16:
        return np.asarray(jnp.asarray(array, jnp.bfloat16), np.float32)
    blocks = np.frombuffer(gguf.quants.quantize(array, kind).tobytes(), np.uint8)
    if kind == Kind.Q8_0:
        blocks = blocks.reshape(-1, 2 + 32)
        scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
        return (scale * blocks[:, 2:].view(np.int8)).reshape(array.shape)
    blocks = blocks.reshape(-1, 4 + 16)
    scale, offset = blocks[:, :4].copy().view(np.float16).astype(np.float32).T[..., None]
    nibbles = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    return (scale * nibbles + offset).reshape(array.shape)


def test_a_file_is_read_under_hugging_faces_names(tmp_path: Path, bpe: Tokenizer, values: Any) -> None:
    convert_gguf(write(tmp_path / "model.gguf", bpe, values), tmp_path / "hf")
    tensors = load_file(tmp_path / "hf" / "model.safetensors")
    block = "model.layers.0."
    names = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
        "blk.0.attn_norm.weight": block + "input_layernorm.weight",
        "blk.0.attn_v.weight": block + "self_attn.v_proj.weight",
        "blk.0.attn_output.weight": block + "self_attn.o_proj.weight",
        "blk.0.ffn_norm.weight": block + "post_attention_layernorm.weight",
        "blk.0.ffn_gate.weight": block + "mlp.gate_proj.weight",
        "blk.0.ffn_up.weight": block + "mlp.up_proj.weight",
        "blk.0.ffn_down.weight": block + "mlp.down_proj.weight",
    }
    assert tensors.keys() == {
        *names.values(),
        block + "self_attn.q_proj.weight",
        block + "self_attn.k_proj.weight",
    }
    for theirs, name in names.items():
        np.testing.assert_array_equal(tensors[name], dequantise(*values[theirs]), err_msg=name)
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    wanted = {
        "model_type": "llama",
        "hidden_size": D,
        "num_hidden_layers": 1,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": K,
        "intermediate_size": F,
        "rope_theta": 1e5,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 32,
        "tie_word_embeddings": True,
        "vocab_size": bpe.get_vocab_size(),
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    assert {key: config[key] for key in wanted} == wanted


def test_attention_scores_are_those_of_llama_cpps_rotation(
    tmp_path: Path, bpe: Tokenizer, values: Any
) -> None:
    """llama.cpp rotates neighbours of its own rows; our halves of the rows put back must score the same."""
    tensors = read_gguf(write(tmp_path / "model.gguf", bpe, values)).tensors
    x_TD = np.random.default_rng(1).standard_normal((5, D)).astype(np.float32)
    angle_TP = np.arange(5)[:, None] * 1e5 ** (-np.arange(0, K, 2) / K)
    config = ModelConfig(
        d_model=D,
        n_layers=1,
        n_heads=HEADS,
        n_kv_heads=KV_HEADS,
        vocab_size=9,
        context=32,
        rope_theta=1e5,
        **LLAMA,
    )

    def theirs(name: str) -> np.ndarray:
        w_OI, _ = values[f"blk.0.attn_{name}.weight"]
        pairs_THP = (x_TD @ w_OI.T).reshape(5, -1, K // 2, 2)
        turned = (pairs_THP[..., 0] + 1j * pairs_THP[..., 1]) * np.exp(1j * angle_TP)[:, None]
        return np.stack([turned.real, turned.imag], -1).reshape(5, -1, K)

    def ours(name: str) -> np.ndarray:
        w_OI = tensors[f"model.layers.0.self_attn.{name}_proj.weight"]
        x_THK = (x_TD @ w_OI.T).reshape(5, -1, K)
        return np.asarray(rope(config, jnp.asarray(x_THK)[None], jnp.arange(5))[0])

    def score(rotate: Any) -> np.ndarray:
        return np.einsum("thk,shk->hts", rotate("q")[:, ::2], rotate("k"))

    np.testing.assert_allclose(score(ours), score(theirs), rtol=2e-4, atol=2e-3)


def test_unpermute_of_a_head_of_six() -> None:
    rows = np.arange(6)[:, None]  # row 2i + j of theirs is row i + 3j of ours
    assert unpermute(rows, 1)[:, 0].tolist() == [0, 2, 4, 1, 3, 5]


@pytest.mark.parametrize("text", TEXTS)
def test_the_tokenizer_is_the_one_that_was_written(
    tmp_path_factory: pytest.TempPathFactory, bpe: Tokenizer, values: Any, text: str
) -> None:
    folder = tmp_path_factory.mktemp("hf")
    metadata = read_gguf(write(folder / "model.gguf", bpe, values)).metadata
    for name, content in make_tokenizer(metadata, "model.gguf").items():
        (folder / name).write_text(content)
    tokenizer = load_tokenizer(folder)
    ids, types = tokenizer.encode(text)
    assert ids == bpe.encode(text).ids
    assert types == [0] * len(ids)
    assert tokenizer.decode(ids, special=True) == text
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (1, 2, 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architecture": "falcon"}, ["'falcon'", "only 'llama'"]),
        ({"expert_count": 8}, ["8 experts"]),
        ({"rope.dimension_count": 8}, ["rotates 8 of the 16"]),
        ({"pre": "qwen2"}, ["'qwen2'", "smollm"]),
        ({"model": "llama"}, ["kind 'llama'", "'gpt2'"]),
        ({"drop": "blk.0.ffn_up.weight"}, ["mlp.up_proj", "lacks 1"]),
        ({"name": "blk.0.ffn_gate_inp.weight"}, ["blk.0.ffn_gate_inp.weight"]),
        ({"name": "rope_freqs.weight"}, ["rope_freqs", "rotary"]),
        ({"kind": Kind.I8}, ["blk.0.ffn_up.weight as I8", "quantisation"]),
    ],
)
def test_what_cannot_be_converted_is_named(
    tmp_path: Path, bpe: Tokenizer, values: Any, change: dict[str, Any], words: list[str]
) -> None:
    values = dict(values)
    values.pop(change.pop("drop", None), None)
    if "name" in change:
        values[change.pop("name")] = (np.ones(K // 2, np.float32), Kind.F32)
    path = tmp_path / "model.gguf"
    if "kind" in change:
        kind = change.pop("kind")
        write_as(path, bpe, values, kind)
    else:
        write(path, bpe, values, **change)
    with pytest.raises(LoraJaxError) as caught:
        convert_gguf(path, tmp_path / "hf")
    assert all(word in str(caught.value) for word in [*words, str(path)])
    assert not (tmp_path / "hf").exists()


def write_as(path: Path, bpe: Tokenizer, values: dict[str, Any], kind: Kind) -> None:
    """Write a file whose ffn_up is said to be of another kind, of as many bytes."""
    name = "blk.0.ffn_up.weight"
    plain = {**values, name: (np.zeros((F, D), np.float32), Kind.F32)}
    write(path, bpe, plain)
    content = bytearray(path.read_bytes())
    at = content.index(name.encode()) + len(name) + 4 + 2 * 8  # n_dims, two sizes, then the kind
    assert int.from_bytes(content[at : at + 4], "little") == Kind.F32
    content[at : at + 4] = int(kind).to_bytes(4, "little")
    path.write_bytes(content)


def test_no_gguf_and_half_a_gguf_are_said_so(tmp_path: Path, bpe: Tokenizer, values: Any) -> None:
    path = write(tmp_path / "model.gguf", bpe, values)
    whole = path.read_bytes()
    for length, words in (
        (0, "no GGUF"),
        (3, "no GGUF"),
        (20, "cut short"),
        (len(whole) // 5, "cut short"),
        (len(whole) // 2, "cut short"),
        (len(whole) - 200, "cut short"),
    ):
        path.write_bytes(whole[:length])
        with pytest.raises(LoraJaxError, match=words):
            read_gguf(path)
    with pytest.raises(LoraJaxError, match="no GGUF file"):
        read_gguf(tmp_path / "none.gguf")
