"""lora-jax merge: an adapter folded into its base, as a model folder that transformers loads."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands.adapter_options import OnBase, add_adapter, load_on_base
from lora_jax.errors import LoraJaxError
from lora_jax.percent import percent

if TYPE_CHECKING:  # `lora-jax --help` needs no package
    from lora_jax.huggingface.architectures.architecture import Json
    from lora_jax.huggingface.pretrained import Pretrained
    from lora_jax.huggingface.tokenizer import HFTokenizer
    from lora_jax.params import Params
    from lora_jax.peft.merge import Merged

DTYPES = ("float32", "bfloat16", "float16")
TOKENIZER = "tokenizer_config.json"


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "merge",
        help="fold an adapter into its base and write a plain model",
        description="Fold an adapter into its base model and write a Hugging Face folder. The result is a"
        " plain model of the same size as the base.",
    )
    add_adapter(parser)
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        help="dtype of the merged weights (default: the base's; float32 if rounding to it would lose"
        " over 5 %% of the update)",
    )
    parser.add_argument(
        "--force", action="store_true", help="keep the dtype even if rounding loses over 5 %% of the update"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.huggingface.checkpoints.folder import save_folder

    found = load_on_base(arguments.adapter, arguments.base)
    base = found.base
    merged, words = _merge(found, arguments.dtype, arguments.force)
    source, padding = pad_classifier(base)
    save_folder(arguments.out, base.config, merged.params, base.model_type, source=source, beside=base.folder)
    if padding is not None:
        _name_padding(arguments.out / TOKENIZER, padding)
        words.append(f"batches are padded with {padding!r}")
    n_changed = len(merged.originals.keys() | found.replaced)
    print(f"{arguments.out}: {n_changed} weights changed, " + ", ".join(words))
    return 0


def _merge(found: OnBase, dtype: str | None, force: bool) -> tuple[Merged, list[str]]:
    """Return the merged weights in the dtype that was asked for or the base's own, and words about them."""
    from lora_jax.peft.merge import MAX_LOST, merge
    from lora_jax.peft.method import Adapted, adapt

    model, params = found.base.config, found.base.params
    frozen = adapt(params, found.config.build(model), seed=0).frozen
    adapted = Adapted(found.trainable, frozen)
    rounded = _cast(params, dtype or _stored_dtypes(found.base))
    kept = _name(rounded)
    merged = merge(model, rounded, adapted, found.config, force=True)
    if merged.total_lost > MAX_LOST and not force:
        if dtype is not None:
            merge(model, rounded, adapted, found.config)  # refuses, and says why
        merged = merge(model, params, adapted, found.config)
        why = f"because {kept}, the base's, would lose over {percent(MAX_LOST)} of the update"
        return merged, [f"in float32, {why}"]
    return merged, [f"in {kept}", f"{percent(merged.total_lost, 2)} of the update lost to rounding"]


def _stored_dtypes(base: Pretrained) -> dict[str, str]:
    """Return the dtype of every weight in the base's files; of what they lack, that of the embedding."""
    from lora_jax.huggingface.checkpoints.folder import read_dtypes

    dtypes = read_dtypes(base.folder, base.config, base.model_type)
    return {path: dtypes.get(path, dtypes["embed/tokens"]) for path in base.params}


def _cast(params: Params, dtype: str | dict[str, str]) -> Params:
    if isinstance(dtype, str):
        return {path: weight.astype(dtype) for path, weight in params.items()}
    return {path: weight.astype(dtype[path]) for path, weight in params.items()}


def _name(params: Params) -> str:
    return " and ".join(sorted({str(weight.dtype) for weight in params.values()}))


def pad_classifier(base: Pretrained) -> tuple[Json, str | None]:
    """Return config.json with a pad_token_id, and that token, where a decoder classifies; else None for it.

    transformers reads such a classifier at the last token that is not pad_token_id, and without one it takes
    a single text at a time. An id that config.json has is kept. A new one must not be what the tokenizer puts
    at the end of a text: the tokenizer's own if it has one, else end of text, else begin of text.

    Raises:
        LoraJaxError: none of them will do.
    """
    model, tokenizer = base.config, base.tokenizer
    if not model.causal or model.n_classes is None:
        return base.source, None
    padding = base.source.get("pad_token_id")
    if padding is None or not 0 <= padding < tokenizer.vocab_size:  # the first Llama's is -1
        padding = _choose_padding(tokenizer)
    if padding is None:
        raise LoraJaxError(
            f"the tokenizer of {base.folder} has no token to pad a classifier's batches with: name a"
            f" pad_token in its {TOKENIZER}, and its id as pad_token_id in its config.json."
        )
    return base.source | {"pad_token_id": padding}, tokenizer.inner.id_to_token(padding)


def _choose_padding(tokenizer: HFTokenizer) -> int | None:
    last = tokenizer.encode("a")[0][-1]
    ids = (tokenizer.pad_id, tokenizer.eos_id, tokenizer.bos_id)
    return next((one for one in ids if one is not None and one >= 0 and one != last), None)


def _name_padding(path: Path, token: str) -> None:
    """Name a token for padding in a tokenizer_config.json that has none: transformers pads with it."""
    from lora_jax.files import write_atomically

    settings = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if settings.get("pad_token") is None:
        settings["pad_token"] = token
        write_atomically(path, json.dumps(settings, indent=2, ensure_ascii=False) + "\n")
