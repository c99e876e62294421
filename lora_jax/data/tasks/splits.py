"""Which file of a folder is which split, by the usual names."""

import re
from pathlib import Path
from typing import NamedTuple

from lora_jax.errors import LoraJaxError

FORMATS = (".jsonl", ".ndjson", ".json", ".tsv", ".csv", ".parquet")
NAMES = {
    "train": ("train", "training"),
    "dev": ("dev", "valid", "validation", "val", "eval"),
    "test": ("test",),
}
SPLIT_OF = {name: split for split, names in NAMES.items() for name in names}
SHARD = re.compile(r"(?P<name>.+?)-\d{5}-of-(?P<count>\d{5})")  # parts of large files on the hub


class Found(NamedTuple):
    """The files that were found.

    Attributes:
        files: The files of each split. There are several if it is cut into shards.
        notes: What else lies there, in sentences.
    """

    files: dict[str, tuple[Path, ...]]
    notes: tuple[str, ...]


def find_splits(folder: Path) -> Found:
    """Return the files of train, dev (also called valid, validation, val, eval) and test.

    If you give a single file in place of a folder, it is train.

    Raises:
        LoraJaxError: There is no folder or no train file, two files are for one split, or a shard is missing.
    """
    if folder.is_file():
        if folder.suffix.lower() not in FORMATS:
            raise LoraJaxError(
                f"{folder} ends with none of {', '.join(FORMATS)}: convert it to one of these."
            )
        return Found({"train": (folder,)}, ())
    paths = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    files: dict[str, dict[str, list[Path]]] = {split: {} for split in NAMES}
    others = []
    for path in paths:
        shard = SHARD.fullmatch(path.stem)
        name = (shard["name"] if shard else path.stem).lower()
        if path.suffix.lower() in FORMATS and name in SPLIT_OF:
            files[SPLIT_OF[name]].setdefault(f"{name}{path.suffix}{bool(shard)}", []).append(path)
        elif path.suffix.lower() in FORMATS or name.partition(".")[0] in SPLIT_OF:
            others.append(path.name)
    if not files["train"]:
        wanted = " or ".join(f"train{suffix}" for suffix in FORMATS)
        held = f" (it holds {', '.join(path.name for path in paths[:9])})" if paths else ""
        raise LoraJaxError(
            f"task.name is 'files:{folder}', and {folder.resolve()} holds no {wanted}{held}: add it."
        )
    chosen = {split: _choose(folder, split, kinds) for split, kinds in files.items() if kinds}
    note = (
        f"not read: {', '.join(others)}, whose name is none of {', '.join(SPLIT_OF)} or whose kind is none of"
        f" {', '.join(FORMATS)}"
    )
    return Found(chosen, (note,) if others else ())


def _choose(folder: Path, split: str, kinds: dict[str, list[Path]]) -> tuple[Path, ...]:
    if len(kinds) > 1:
        raise LoraJaxError(
            f"{folder} holds {' and '.join(paths[0].name for paths in kinds.values())}, one of them is wanted"
            f" as the {split} split: take the others away."
        )
    (paths,) = kinds.values()
    shard = SHARD.fullmatch(paths[0].stem)
    if shard and len(paths) != int(shard["count"]):
        raise LoraJaxError(
            f"{folder} holds {len(paths)} of the {int(shard['count'])} shards of {shard['name']}"
            f" ({', '.join(path.name for path in paths[:5])}): fetch the others."
        )
    return tuple(paths)
