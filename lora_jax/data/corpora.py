"""Sources of documents: the embedded corpus, tensorflow-datasets, local files, packages, tokens, the hub."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lora_jax.config import SourceConfig
from lora_jax.data import hub, tfds
from lora_jax.data.documents import Chained, Documents
from lora_jax.data.files import find_documents, find_files, identify_files
from lora_jax.data.package_code import find_package_code
from lora_jax.data.readers.kinds import open_file
from lora_jax.data.readers.token_documents import TokenDocuments
from lora_jax.data.tokenizers import Tokenizer
from lora_jax.errors import LoraJaxError, nearest

KINDS = ("sotu", "tfds:NAME", "files:GLOB", "package:NAME", "tokens:GLOB", "hf:NAME")


@dataclass(frozen=True)
class Corpus:
    """The documents of one source.

    Attributes:
        name: Name of the source.
        identity: A hash of their content. Equal identities mean equal text.
        open: Opens the documents. Nothing is read before.
    """

    name: str
    identity: str
    open: Callable[[], Documents | TokenDocuments]


def open_corpus(
    source: SourceConfig, cache: Path, say: Callable[[str], None], tokenizer: Tokenizer | None
) -> Corpus:
    """Return the corpus of a source. It is prepared and identified. A known source is not read again.

    Args:
        source: The source.
        cache: The folder of derived files.
        say: Called with a line about each thing that takes time.
        tokenizer: What encodes the text, or made the tokens. None if it will be trained on the corpora.

    Raises:
        LoraJaxError: The source is unknown, a package is missing, there is no network, or no file matches or
            can be read.
    """
    kind, _, rest = source.name.partition(":")
    if source.name == "sotu" or (kind == "tfds" and rest):
        name = tfds.parse_name(rest or source.name)
        prepared = tfds.prepare_set(name, tfds.find_data_dir(cache), say)
        identity = tfds.identify(prepared, source.split, source.text_field)
        return Corpus(
            source.name, identity, partial(tfds.SetDocuments, prepared, source.split, source.text_field)
        )
    if kind == "files" and rest:
        paths = find_documents(source)
        identity = identify_files(paths, source, cache)
        return Corpus(source.name, identity, partial(_open_files, paths, source.text_field))
    if kind == "package" and rest:
        paths = find_package_code(rest)
        identity = identify_files(paths, source, cache)
        return Corpus(source.name, identity, partial(_open_files, paths, source.text_field))
    if kind == "hf" and rest:
        identity, documents = hub.open_set(source, cache)
        return Corpus(source.name, identity, lambda: documents)
    if kind == "tokens" and rest:
        return _open_tokens(source, cache, tokenizer)
    raise LoraJaxError(
        f"data.sources names {source.name!r}{nearest(source.name, KINDS)}: it must be 'sotu', 'tfds:NAME' for"
        " a set of tensorflow-datasets, 'files:GLOB' for local files, 'package:NAME' for the code of an"
        " installed package, 'tokens:GLOB' for files of tokens, or 'hf:NAME' for a set of the Hugging Face"
        " hub."
    )


def _open_tokens(source: SourceConfig, cache: Path, tokenizer: Tokenizer | None) -> Corpus:
    if tokenizer is None or tokenizer.name == "bytes":
        raise LoraJaxError(
            f"data.sources names {source.name!r}, which is tokens already, and data.tokenizer is not what"
            " made them: name its tokenizer.json, or 'unknown:SIZE' with the number of ids."
        )
    paths = find_files(source, "tokens")
    shards = [path for path in paths if path.suffix.lower() == ".bin"]
    indices = [path.with_suffix(".idx") for path in shards if path.with_suffix(".idx").is_file()]
    others = sorted({*paths} - {*shards} - {*indices})
    if others:
        raise LoraJaxError(
            f"data.sources matches {others[0]}, which is no .bin of tokens, nor the .idx beside one: narrow"
            " the pattern."
        )
    identity = identify_files([*shards, *indices], source, cache)
    documents = partial(TokenDocuments, shards, tokenizer.vocab_size, tokenizer.separator)
    return Corpus(source.name, identity, documents)


def _open_files(paths: list[Path], text_field: str) -> Documents:
    return Chained([open_file(path, text_field) for path in paths])


def needs_download(source: SourceConfig, cache: Path) -> bool:
    """Would opening the source download it?

    Raises:
        LoraJaxError: It would, and it cannot be had.
    """
    kind, _, rest = source.name.partition(":")
    if kind == "hf" and rest:
        return not hub.check_available(source)
    return (
        kind == "tfds"
        and bool(rest)
        and not tfds.check_available(tfds.parse_name(rest), tfds.find_data_dir(cache))
    )
