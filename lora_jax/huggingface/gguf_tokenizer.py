"""The byte-level BPE of a GGUF file's metadata as a tokenizer.json and its tokenizer_config.json."""

import json
from typing import Any

from lora_jax.errors import LoraJaxError, nearest

# llama.cpp's names for ways to cut text before merging: what we do before GPT-2's own cutting.
PRE_TOKENIZERS = {"gpt-2": (), "smollm": ("digits",)}
CONTROL, USER_DEFINED = 3, 4  # llama.cpp's types of tokens that are found whole in a text


def make_tokenizer(metadata: dict[str, Any], source: str) -> dict[str, str]:
    """Return the contents of tokenizer.json and tokenizer_config.json, by file name.

    Args:
        metadata: The keys of the GGUF file.
        source: What error messages call the file.

    Raises:
        LoraJaxError: It is no byte-level BPE, we do not know its way of splitting text, or keys are missing.
    """
    kind = metadata.get("tokenizer.ggml.model")
    if kind != "gpt2":
        raise LoraJaxError(
            f"{source} has a tokenizer of kind {kind!r}, only 'gpt2' (byte-level BPE) is read."
        )
    pre = metadata.get("tokenizer.ggml.pre", "gpt-2")
    if pre not in PRE_TOKENIZERS:
        raise LoraJaxError(
            f"{source} cuts text in the way {pre!r}{nearest(pre, PRE_TOKENIZERS)}: not converted."
        )
    for key in ("tokens", "merges", "token_type"):
        if f"tokenizer.ggml.{key}" not in metadata:
            raise LoraJaxError(f"{source} does not say tokenizer.ggml.{key}: it cannot be converted.")
    specials = _name_specials(metadata)
    return {
        "tokenizer.json": _build(metadata, PRE_TOKENIZERS[pre], specials).to_str(),
        "tokenizer_config.json": json.dumps(_make_config(metadata, specials), indent=1, ensure_ascii=False),
    }


def _build(metadata: dict[str, Any], pieces: tuple[str, ...], specials: dict[str, str]) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    vocab = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    whole = zip(tokens, metadata["tokenizer.ggml.token_type"], strict=True)
    for token, kind in whole:
        if kind in (CONTROL, USER_DEFINED):
            is_special = kind == CONTROL
            tokenizer.add_tokens([AddedToken(token, special=is_special, normalized=False)])
    byte_level = pre_tokenizers.ByteLevel(
        add_prefix_space=bool(metadata.get("tokenizer.ggml.add_space_prefix", False)), use_regex=True
    )
    digits = [pre_tokenizers.Digits(individual_digits=True)] if "digits" in pieces else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*digits, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    first = [specials["bos"]] if metadata.get("tokenizer.ggml.add_bos_token") else []
    last = [specials["eos"]] if metadata.get("tokenizer.ggml.add_eos_token") else []
    if first or last:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[*first, "$A", *last],
            pair=[*first, "$A", *last, *(f"{t}:1" for t in first), "$B:1", *(f"{t}:1" for t in last)],
            special_tokens=[(token, vocab[token]) for token in {*first, *last}],
        )
    return tokenizer


def _name_specials(metadata: dict[str, Any]) -> dict[str, str]:
    names = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad"}
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    return {
        short: tokens[metadata[f"tokenizer.ggml.{name}_token_id"]]
        for name, short in names.items()
        if f"tokenizer.ggml.{name}_token_id" in metadata
    }


def _make_config(metadata: dict[str, Any], specials: dict[str, str]) -> dict[str, Any]:
    config: dict[str, Any] = {f"{short}_token": token for short, token in specials.items()}
    config |= {
        "tokenizer_class": "PreTrainedTokenizerFast",  # this class uses tokenizer.json as it is
        "model_max_length": metadata.get("llama.context_length"),
        "clean_up_tokenization_spaces": False,
    }
    if "tokenizer.chat_template" in metadata:
        config["chat_template"] = metadata["tokenizer.chat_template"]
    return config
