"""Sources of documents: the embedded corpus, tensorflow-datasets, local files."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lora_jax.config import SourceConfig
from lora_jax.data import tfds
from lora_jax.data.documents import Chained, Documents
from lora_jax.data.files import find_documents, identify_files
from lora_jax.data.readers.kinds import open_file
from lora_jax.errors import LoraJaxError, nearest

KINDS = ("sotu", "tfds:NAME", "files:GLOB")


@dataclass(frozen=True)
class Corpus:
    """The documents of one source; `identity` names their content, so equal identities mean equal text."""

    name: str
    identity: str
    open: Callable[[], Documents]  # reads nothing before it is called


def open_corpus(source: SourceConfig, cache: Path, say: Callable[[str], None]) -> Corpus:
    """Return the corpus of a source, prepared and identified but not read when it is known already.

    Raises:
        LoraJaxError: an unknown source, a missing package, no network, no matching file, an unreadable one.
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
    raise LoraJaxError(
        f"data.sources names {source.name!r}{nearest(source.name, KINDS)}: wanted is 'sotu', 'tfds:NAME' for"
        " a set of tensorflow-datasets, or 'files:GLOB' for local files."
    )


def _open_files(paths: list[Path], text_field: str) -> Documents:
    return Chained([open_file(path, text_field) for path in paths])


def needs_download(source: SourceConfig, cache: Path) -> bool:
    """Would opening the source download it? Raises LoraJaxError where it could not be had."""
    kind, _, rest = source.name.partition(":")
    return (
        kind == "tfds" and bool(rest)
        and not tfds.check_available(tfds.parse_name(rest), tfds.find_data_dir(cache))
    )  # fmt: skip
