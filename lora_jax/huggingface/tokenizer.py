"""The tokenizer.json of a Hugging Face folder, and which of its ids begin, end and pad a text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lora_jax.errors import LoraJaxError
from lora_jax.files import load_json
from lora_jax.foreign import parse_tokenizer
from lora_jax.framing import choose_end_ids, count_doubled, find_front
from lora_jax.huggingface.chat import ChatTemplate, find_template

NAMED = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")  # special tokens that the small files may name


@dataclass(frozen=True)
class HFTokenizer:
    """Maps text to ids and back, as the folder's model was trained. It neither truncates nor pads.

    Attributes:
        inner: The tokenizers.Tokenizer.
        vocab_size: All ids are below this.
        bos_id: The token that begins a text, or None.
        eos_id: The token that ends a text, or None.
        pad_id: The token that pads a text, or None.
        end_ids: The tokens at which generated text stops. If none is given, the eos.
        chat: The chat template, or None.
    """

    inner: Any
    vocab_size: int
    bos_id: int | None
    eos_id: int | None
    pad_id: int | None
    end_ids: tuple[int, ...] = ()
    chat: ChatTemplate | None = None

    def __post_init__(self) -> None:
        if not self.end_ids and self.eos_id is not None:
            object.__setattr__(self, "end_ids", (self.eos_id,))

    @cached_property
    def _front(self) -> list[int]:
        return find_front(lambda text, special: self.inner.encode(text, add_special_tokens=special).ids)

    def encode(self, text: str, pair: str | None = None, special: bool = True) -> tuple[list[int], list[int]]:
        """Encode a text or a pair of texts.

        Args:
            text: The text.
            pair: The second text of a pair, or None.
            special: Whether to add what the model expects around a text, such as BERT's [CLS] and [SEP]. A
                text that already begins with it gets it once. For prompts, which have an open end, use
                `lora_jax.framing`.

        Returns:
            The ids, and their types: 1 in the second text of a pair, otherwise 0.
        """
        found = self.inner.encode(text, pair, add_special_tokens=special)
        n = count_doubled(found.ids, self._front) if special else 0
        return found.ids[n:], found.type_ids[n:]

    def encode_batch(self, texts: list[str], special: bool = True) -> list[list[int]]:
        """Return the ids of many texts. This is several times faster than one by one."""
        rows = [found.ids for found in self.inner.encode_batch(texts, add_special_tokens=special)]
        return [ids[count_doubled(ids, self._front) :] for ids in rows] if special else rows

    def render(self, messages: Sequence[Mapping[str, Any]], is_open: bool) -> str:
        """Return a conversation as text.

        Args:
            messages: The conversation.
            is_open: Whether the text ends where the assistant answers.

        Raises:
            LoraJaxError: There is no chat template, or `ChatTemplate.render` refuses.
        """
        return self._require_chat().render(messages, is_open)

    def mark_answers(self, messages: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]] | None:
        """Return which characters of a conversation's text the assistant writes, as the template marks them.

        It is None if the template marks nothing.

        Raises:
            LoraJaxError: As for `render`.
        """
        return self._require_chat().mark_answers(messages)

    def _require_chat(self) -> ChatTemplate:
        if self.chat is None:
            raise LoraJaxError(
                "A conversation is asked for, and the base has no chat template (chat_template.jinja, or"
                " chat_template in tokenizer_config.json): take a base that was trained on conversations, or"
                " write prompts and completions as plain text."
            )
        return self.chat

    def decode(self, ids: Iterable[int], special: bool = False) -> str:
        """Return the text of ids.

        Args:
            ids: The ids.
            special: Whether tokens such as <|im_end|> are written out.
        """
        return self.inner.decode([int(i) for i in ids], skip_special_tokens=not special)

    def continue_text(self, ids: Iterable[int]) -> str:
        """Return the text of ids as it continues other text.

        `decode` treats its ids as a whole text. SentencePiece's then drops a space at the start.
        """
        before = self.encode("a", special=False)[0]
        return self.decode([*before, *ids])[len(self.decode(before)) :]


def load_tokenizer(folder: Path) -> HFTokenizer:
    """Read a folder's tokenizer.json. The small files beside it say which ids are special.

    We take bos, eos and pad from the small files in transformers' order (`_small_files`), otherwise from
    config.json. If none gives it, it is None. The tokens that end generated text come from
    generation_config.json, otherwise from config.json, otherwise it is the eos. As in transformers, tokens
    that the small files name are special. They are found whole in a text, and decoded text does not show
    them.

    Raises:
        LoraJaxError: tokenizer.json is missing or unreadable, lacks a special token, or end tokens are no
            numbers.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise LoraJaxError(
            f"{folder} has no tokenizer.json: save the model's tokenizer there in the fast format."
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise LoraJaxError(f"{path} is not UTF-8 ({error.reason}): save it again.") from error
    inner = parse_tokenizer(text, f"{path} is no tokenizer that can be read", "save it again")
    inner.no_truncation()  # the file may hold a length from another use
    inner.no_padding()
    ids = inner.get_vocab(with_added_tokens=True)
    special = {name: _find_id(folder, name, ids) for name in ("bos", "eos", "pad")}
    _mark_special(inner, folder, ids)
    generation, config = (_read(folder / f"{name}.json") for name in ("generation_config", "config"))
    return HFTokenizer(
        inner,
        max(ids.values()) + 1,
        bos_id=special["bos"],
        eos_id=special["eos"],
        pad_id=special["pad"],
        chat=find_template(folder, _read(folder / "tokenizer_config.json")),
        end_ids=choose_end_ids(generation.get("eos_token_id"), config.get("eos_token_id"), special["eos"]),
    )


def _mark_special(inner: Any, folder: Path, ids: dict[str, int]) -> None:
    """Make tokens special that the small files name and that the vocabulary holds as plain tokens."""
    from tokenizers import AddedToken

    known = {token.content for token in inner.get_added_tokens_decoder().values() if token.special}
    for file in _small_files(folder):
        for name in NAMED:
            content = _content(_read(folder / file).get(f"{name}_token"))
            if content in ids and content not in known:
                inner.add_special_tokens([AddedToken(content, special=True, normalized=False)])
                known.add(content)


def _content(token: Any) -> str | None:
    content = token.get("content") if isinstance(token, dict) else token
    if not isinstance(content, str | None) or (token is not None and content is None):
        raise LoraJaxError(
            f"A special token of the folder is {repr(token)[:80]}, but it must be its text: mend it."
        )
    return content


def _small_files(folder: Path) -> tuple[str, str]:
    """Return the files that name special tokens. The first one counts.

    In transformers special_tokens_map.json overrides tokenizer_config.json. But if the latter lists its
    tokens in `added_tokens_decoder`, as newer versions save it, it counts itself.
    """
    config, older = "tokenizer_config.json", "special_tokens_map.json"
    return (config, older) if "added_tokens_decoder" in _read(folder / config) else (older, config)


def _find_id(folder: Path, name: str, ids: dict[str, int]) -> int | None:
    for file in _small_files(folder):
        content = _content(_read(folder / file).get(f"{name}_token"))
        if content is not None:
            if content not in ids:
                raise LoraJaxError(
                    f"{folder / file} has the {name} token {content!r}, tokenizer.json has not."
                )
            return ids[content]
    found = _read(folder / "config.json").get(f"{name}_token_id")
    found = found[0] if isinstance(found, list) and found else found  # several tokens may end a text
    if found is not None and (not isinstance(found, int) or isinstance(found, bool)):
        raise LoraJaxError(
            f"{folder / 'config.json'} has {name}_token_id {found!r}, but it must be a number: mend it."
        )
    return found


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = load_json(path)
    except (OSError, ValueError) as error:
        raise LoraJaxError(f"{path} is no JSON ({error}): mend it.") from None
    if not isinstance(found, dict):
        raise LoraJaxError(
            f"{path} holds a {type(found).__name__}, but it must be an object of settings: mend it."
        )
    return found
