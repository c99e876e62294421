"""The tokenizer.json of a Hugging Face folder, and which of its ids begin, end and pad a text."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_jax.errors import LoraJaxError


@dataclass(frozen=True)
class HFTokenizer:
    """Text to ids and back as the folder's model was trained; nothing is cut short and nothing padded."""

    inner: Any  # tokenizers.Tokenizer
    vocab_size: int  # ids lie in [0, vocab_size)
    bos_id: int | None
    eos_id: int | None
    pad_id: int | None

    def encode(self, text: str, pair: str | None = None, special: bool = True) -> tuple[list[int], list[int]]:
        """Return (ids, types) of a text or of a pair: the type is 1 in the second of a pair, else 0.

        special: add what the model wants around a text, such as BERT's [CLS] and [SEP].
        """
        found = self.inner.encode(text, pair, add_special_tokens=special)
        return found.ids, found.type_ids

    def encode_batch(self, texts: list[str], special: bool = True) -> list[list[int]]:
        """Return the ids of many texts, several times faster than one by one."""
        return [found.ids for found in self.inner.encode_batch(texts, add_special_tokens=special)]

    def decode(self, ids: Iterable[int], special: bool = False) -> str:
        """Return the text of ids; special: with tokens such as <|im_end|> written out."""
        return self.inner.decode([int(i) for i in ids], skip_special_tokens=not special)

    def continue_text(self, ids: Iterable[int]) -> str:
        """Return the text of ids as it goes on after other text.

        `decode` takes what it is given for a whole text, and SentencePiece's drops a space at its start.
        """
        before = self.encode("a", special=False)[0]
        return self.decode([*before, *ids])[len(self.decode(before)) :]


def load_tokenizer(folder: Path) -> HFTokenizer:
    """Read a folder's tokenizer.json; which ids are special is in the small files beside it.

    Each of bos, eos and pad is taken from tokenizer_config.json, else special_tokens_map.json, else
    config.json, and is None where none of them says.

    Raises:
        LoraJaxError: no tokenizer.json, one that cannot be read, or a special token that it does not hold.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise LoraJaxError(
            f"{folder} has no tokenizer.json: save the model's tokenizer there in the fast format."
        )
    try:
        inner = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises bare Exception
        raise LoraJaxError(f"{path} is no tokenizer that can be read ({error}): save it again.") from None
    inner.no_truncation()  # whoever saved it may have left a length that does not hold for this use
    inner.no_padding()
    ids = inner.get_vocab(with_added_tokens=True)
    special = {name: _find_id(folder, name, ids) for name in ("bos", "eos", "pad")}
    return HFTokenizer(
        inner, max(ids.values()) + 1, bos_id=special["bos"], eos_id=special["eos"], pad_id=special["pad"]
    )


def _find_id(folder: Path, name: str, ids: dict[str, int]) -> int | None:
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        token = _read(folder / file).get(f"{name}_token")
        if token is not None:
            content = token["content"] if isinstance(token, dict) else token
            if content not in ids:
                raise LoraJaxError(
                    f"{folder / file} has the {name} token {content!r}, tokenizer.json has not."
                )
            return ids[content]
    found = _read(folder / "config.json").get(f"{name}_token_id")
    return found[0] if isinstance(found, list) else found  # several may end a text; the first is its own


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LoraJaxError(f"{path} is no JSON ({error}): mend it.") from None
