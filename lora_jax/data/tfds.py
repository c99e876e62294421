"""Text sets of tensorflow-datasets by name, read without TensorFlow."""

import contextlib
import importlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_jax.config import digest
from lora_jax.data.documents import READ_ROWS, Rows
from lora_jax.data.network import find_silence
from lora_jax.data.prepared import check_shards, first_line, open_builder, reading_set
from lora_jax.digests import find_damage, read_object, write_manifest
from lora_jax.errors import Damaged, LoraJaxError, nearest
from lora_jax.names import inside, is_plain

# Sets outside `tensorflow_datasets.datasets` are unknown until the package that holds them is imported.
SUBJECTS = ("text", "summarization", "question_answering", "translate", "text_simplification", "structured")
# The home of tensorflow-datasets' own files. We ask it if a set does not say where it downloads from.
DEFAULT_URL = "https://storage.googleapis.com"
SMALL = ("dataset_info.json", "features.json")  # the files of a prepared set that describe its records


@dataclass(frozen=True)
class SetName:
    """The name of a set, NAME[/CONFIG][:VERSION], as tensorflow-datasets writes it.

    Attributes:
        name: Its name.
        config: Its config. None takes the default one.
        version: Its version. None takes the latest.
    """

    name: str
    config: str | None
    version: str | None

    def __str__(self) -> str:
        config = f"/{self.config}" if self.config else ""
        return self.name + config + (f":{self.version}" if self.version else "")


def parse_name(text: str) -> SetName:
    """Read NAME[/CONFIG][:VERSION].

    Raises:
        LoraJaxError: The text is no such name.
    """
    path, _, version = text.partition(":")
    name, _, config = path.partition("/")
    if not name.isidentifier() or not all(is_plain(part) for part in (config, version) if part):
        raise LoraJaxError(
            f"The source is 'tfds:{text}', but it must be tfds:NAME or tfds:NAME/CONFIG: write a dataset's"
            " name, for example tfds:lm1b."
        )
    return SetName(name, config or None, version or None)


def find_data_dir(cache: Path) -> Path:
    """Return where prepared sets lie: $TFDS_DATA_DIR, or else a folder of the cache."""
    chosen = os.environ.get("TFDS_DATA_DIR")
    return Path(chosen).expanduser() if chosen else cache / "tensorflow_datasets"


def find_prepared(name: SetName, data_dir: Path) -> Path | None:
    """Return the folder of a prepared set. None if it is not prepared.

    It does not import tensorflow-datasets, which would take a second. Without a version it takes the latest
    on disk. Without a config it takes the set's default one.
    """
    folder = data_dir / name.name
    config = name.config
    if config is None:
        path = folder / ".config" / "metadata.json"
        if path.exists():  # sets without configs have no such file
            config = read_object(path, f"delete {folder} and start again").get("default_config_name")
    if config:
        folder = inside(folder, config, f"{folder / '.config' / 'metadata.json'}")
    versions = [name.version] if name.version else sorted(_list_versions(folder), key=_version_key)
    found = [folder / v for v in versions if (folder / v / "dataset_info.json").is_file()]
    return found[-1] if found else None


def _list_versions(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return [p.name for p in folder.iterdir() if p.name.replace(".", "").isdigit()]


def _version_key(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def identify(prepared: Path, split: str, text_field: str) -> str:
    """Return a hash that identifies the text of one split.

    It follows from name, config, version, shards and sizes.
    """
    info = read_object(prepared / "dataset_info.json", f"delete {prepared} and start again")
    content = {key: info.get(key) for key in ("name", "configName", "version", "splits")}
    return digest({"content": content, "split": split, "text_field": text_field}, length=32)


def prepare_set(name: SetName, data_dir: Path, say: Callable[[str], None]) -> Path:
    """Return the folder of the prepared set. If it is not there, download and prepare it.

    Raises:
        LoraJaxError: The set or config is unknown, there is no network, or the preparation failed.
        Damaged: The prepared set is damaged.
    """
    prepared = find_prepared(name, data_dir)
    if prepared is not None:
        damaged = find_damage(prepared, only=[*SMALL])
        if damaged is None:
            return prepared
        raise Damaged(f"{damaged} is damaged: delete {prepared} and start again.")
    say(f"preparing {name} with tensorflow-datasets")
    builder = _make_builder(name, data_dir)
    folder = Path(builder.data_dir)
    if not (folder / "dataset_info.json").is_file():
        if name.name != "sotu":
            _require_network(name, builder, data_dir)
        _download_and_prepare(name, builder, folder)
    return folder


def check_available(name: SetName, data_dir: Path) -> bool:
    """Is the set prepared?

    Raises:
        LoraJaxError: It is not prepared, and its name is unknown or its server does not answer.
    """
    if find_prepared(name, data_dir) is not None:
        return True
    builder = _make_builder(name, data_dir)
    if (Path(builder.data_dir) / "dataset_info.json").is_file() or name.name == "sotu":
        return True
    _require_network(name, builder, data_dir)
    return False


def _make_builder(name: SetName, data_dir: Path) -> Any:
    """Return the builder. It writes array_record, because the parquet writer of 4.9 silently loses rows."""
    import tensorflow_datasets as tfds

    importlib.import_module("lora_jax.data.sotu")
    for subject in SUBJECTS:
        importlib.import_module(f"tensorflow_datasets.{subject}")
    # The community list lives on a server, so asking for it would need the network.
    known = tfds.list_builders(with_community_datasets=False)
    if name.name not in known:
        close = nearest(name.name, known)
        hint = close if close.startswith(" (nearest") else f" ({len(known)} are known)"
        raise LoraJaxError(
            f"tensorflow-datasets has no dataset {name.name!r}{hint}: correct the name after 'tfds:'."
        )
    cls: Any = tfds.builder_cls(name.name)
    configs = list(cls.builder_configs)
    if name.config and name.config not in configs:
        raise LoraJaxError(
            f"The dataset {name.name!r} has no config {name.config!r}{nearest(name.config, configs)}:"
            f" correct what follows 'tfds:{name.name}/'."
        )
    chosen: dict[str, Any] = {"config": name.config} if name.config else {}
    try:
        return cls(data_dir=data_dir, file_format="array_record", version=name.version, **chosen)
    except AssertionError as error:  # what tensorflow-datasets raises for an unknown version
        raise LoraJaxError(
            f"The dataset {name} cannot be built ({first_line(error)}): drop or correct its version."
        ) from error


def _require_network(name: SetName, builder: Any, data_dir: Path) -> None:
    """Refuse at once if there is no connection.

    tensorflow-datasets would retry for minutes before it fails.
    """
    urls = sorted(builder.url_infos or [DEFAULT_URL])
    host = "/".join(urls[0].split("/")[:3])
    error = find_silence(host)
    if error is not None:
        raise LoraJaxError(
            f"The dataset {name} is not prepared under {data_dir} and {host} does not answer ({error}):"
            " connect to the network, or set TFDS_DATA_DIR to a folder that holds it prepared as"
            " array_record."
        ) from error


def _download_and_prepare(name: SetName, builder: Any, folder: Path) -> None:
    import tensorflow_datasets as tfds

    config = tfds.download.DownloadConfig(try_download_gcs=False)
    if name.name == "sotu":
        tfds.disable_progress_bar()  # it ends before you could read a bar
    try:
        # It would print into the middle of a table on stdout. `say` and the bars report enough.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(download_config=config)
    except LoraJaxError:
        raise
    except ImportError as error:
        raise LoraJaxError(
            f"Preparing the dataset {name} needs the package {error.name!r}, which is not installed: install"
            " it, or prepare the set elsewhere with file_format='array_record' and set TFDS_DATA_DIR to its"
            " folder."
        ) from error
    # The preparation runs the set's own code, which may raise anything. If another process finished the set
    # first, that one is as good as ours.
    except Exception as error:
        if not (folder / "dataset_info.json").is_file():
            raise LoraJaxError(
                f"The dataset {name} could not be prepared under {folder}"
                f" ({type(error).__name__}: {first_line(error)}): mend that and start again."
            ) from error
    else:
        write_manifest(folder)
    finally:
        tfds.enable_progress_bar()


class SetDocuments:
    """The texts of one split of a prepared set, read by row. Nothing is held in memory."""

    def __init__(self, prepared: Path, split: str, text_field: str) -> None:
        """Open the split.

        Args:
            prepared: The folder of the prepared set.
            split: Name of the split.
            text_field: The feature that holds the text.

        Raises:
            LoraJaxError: The set has no such split or feature, or its files need TensorFlow.
        """
        builder = open_builder(prepared)
        features = list(builder.info.features or [])
        if text_field not in features:
            raise LoraJaxError(
                f"data.sources has text_field {text_field!r}, which the dataset {builder.info.full_name} does"
                f" not have{nearest(text_field, features)}: name one of its features."
            )
        splits = list(builder.info.splits)
        base = split.partition("[")[0].strip()
        if base not in [*splits, "all"] and "+" not in split:
            raise LoraJaxError(
                f"data.sources has split {split!r}, which the dataset {builder.info.full_name} does not"
                f" have{nearest(base, splits)}: name one of its splits."
            )
        try:
            self._rows: Any = builder.as_data_source(split=split)
        except (NotImplementedError, ValueError) as error:
            raise LoraJaxError(
                f"The split {split!r} of {builder.info.full_name} cannot be read without TensorFlow"
                f" ({first_line(error)}): prepare it with file_format='array_record', or correct the split."
            ) from error
        self._field, self._prepared = text_field, prepared
        self._name = f"{builder.info.full_name}, split {split!r}"
        check_shards(builder.info.splits[split].file_instructions, prepared)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, rows: Rows) -> Iterator[str]:
        """Yield the texts of some rows. Reading many at once is five times faster than one by one."""
        for start in range(0, len(rows), READ_ROWS):
            some = [int(row) for row in rows[start : start + READ_ROWS]]
            with reading_set(self._prepared):
                values = [example[self._field] for example in self._rows.__getitems__(some)]
            for row, value in zip(some, values, strict=True):
                yield self._decode(row, value)

    def _decode(self, row: int, value: Any) -> str:
        if isinstance(value, str):
            return value
        if not isinstance(value, bytes):
            raise LoraJaxError(
                f"The feature {self._field!r} of {self._name} holds {type(value).__name__} and not text:"
                " set text_field to a feature of text."
            )
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise LoraJaxError(
                f"Row {row} of {self._name} is not UTF-8 ({error.reason} at byte {error.start}):"
                " set text_field to a feature of text."
            ) from error
