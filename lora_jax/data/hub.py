"""Sets of the Hugging Face hub, and folders that its package `datasets` loads. This needs the extra `hf`."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lora_jax.config import SourceConfig, digest
from lora_jax.data.documents import READ_ROWS, Documents, Rows, or_empty
from lora_jax.data.files import identify_files
from lora_jax.data.network import find_silence
from lora_jax.data.prepared import first_line
from lora_jax.errors import LoraJaxError, nearest


def open_set(source: SourceConfig, cache: Path) -> tuple[str, Documents]:
    """Return the identity and the documents of "hf:NAME" or "hf:NAME:CONFIG". Download it if needed.

    Raises:
        LoraJaxError: `datasets` is missing, the set cannot be loaded, or it has no such field of text.
    """
    loaded = _load(source)
    paths = [Path(file["filename"]) for file in loaded.cache_files]
    identity = digest([identify_files(paths, source, cache), source.split], length=32)
    return identity, HubDocuments(loaded, source)


def check_available(source: SourceConfig) -> bool:
    """Is a set a local folder, or was it loaded before?

    Raises:
        LoraJaxError: Neither is true, and its server does not answer or the name is no name of a set.
    """
    name, settings = _split_name(source)[0], _import().config
    if Path(name).expanduser().is_dir():
        return True
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise LoraJaxError(
            f"data.sources names {source.name!r}, which is no folder, and no set of the hub, OWNER/NAME:"
            " correct it."
        )
    if (Path(settings.HF_DATASETS_CACHE) / name.replace("/", "___").lower()).is_dir():
        return True
    silence = find_silence(settings.HF_ENDPOINT)
    if silence is not None:
        raise LoraJaxError(
            f"The source {source.name!r} is not on this machine and {settings.HF_ENDPOINT} does not"
            f" answer ({silence}): connect to the network, or read its files with 'files:'."
        )
    return False


def _split_name(source: SourceConfig) -> tuple[str, str | None]:
    name, _, config = source.name.removeprefix("hf:").partition(":")
    return name, config or None


def _import() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise LoraJaxError(
            f"Sources 'hf:NAME' need the package datasets ({error}): pip install 'lora-jax[hf]'."
        ) from error
    return datasets


def _load(source: SourceConfig) -> Any:
    datasets = _import()
    name, config = _split_name(source)
    path = Path(name).expanduser()
    check_available(source)
    try:
        return datasets.load_dataset(str(path) if path.is_dir() else name, config, split=source.split)
    # It may run into anything: no network, no such set, config or split, files that it cannot parse.
    except Exception as error:
        raise LoraJaxError(
            f"The source {source.name!r}, split {source.split!r}, cannot be loaded"
            f" ({type(error).__name__}: {first_line(error)}): connect to the network, correct its name,"
            " config or split, or read its files with 'files:'."
        ) from error


class HubDocuments:
    """The texts of a set that `datasets` holds as Arrow files, read by row."""

    def __init__(self, loaded: Any, source: SourceConfig) -> None:
        """Take a loaded set.

        Raises:
            LoraJaxError: It has no such field, or the field holds no text.
        """
        field, features = source.text_field, dict(loaded.features)
        if field not in features:
            raise LoraJaxError(
                f"data.sources has text_field {field!r}, which {source.name} does not"
                f" have{nearest(field, features)}: name one of its features."
            )
        kind = getattr(features[field], "dtype", type(features[field]).__name__)
        if kind not in ("string", "large_string"):
            raise LoraJaxError(
                f"data.sources has text_field {field!r}, which in {source.name} holds {kind} and not text:"
                " name a feature of text."
            )
        self._rows, self._field = loaded.select_columns([field]), field

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, rows: Rows) -> Iterator[str]:
        """Yield the texts of `rows`, which must ascend."""
        for start in range(0, len(rows), READ_ROWS):
            some = np.asarray(rows[start : start + READ_ROWS]).tolist()
            yield from map(or_empty, self._rows[some][self._field])
