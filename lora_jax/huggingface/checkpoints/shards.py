"""The safetensors files of a folder, one file or shards with an index, read tensor by tensor."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.files import load_json
from lora_jax.foreign import reading_tensors, write_safetensors
from lora_jax.names import inside

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
SHARD_BYTES = 2 * 10**9  # a shard is in memory as a whole while we write it


class Stored(NamedTuple):
    """Open files. Nothing is read before it is asked for.

    Attributes:
        folder: The folder.
        files: The open file of each tensor, by its name.
    """

    folder: Path
    files: Mapping[str, Any]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape, from the header."""
        return tuple(self.files[name].get_slice(name).get_shape())

    def dtype(self, name: str) -> str:
        """Return a tensor's dtype, from the header: float32, float16 or bfloat16.

        Raises:
            LoraJaxError: It has another dtype.
        """
        dtype = self.files[name].get_slice(name).get_dtype()
        if dtype not in DTYPES:
            raise LoraJaxError(
                f"{name} in {self.folder} is {dtype}, supported are {', '.join(DTYPES)}: convert it first."
            )
        return DTYPES[dtype]

    def read(self, name: str) -> np.ndarray:
        """Return a tensor in the dtype of the file.

        Raises:
            LoraJaxError: It has another dtype than float32, float16 or bfloat16, or is damaged.
        """
        self.dtype(name)
        with reading_tensors(self.folder, f"{name} is damaged, fetch it again"):
            return self.files[name].get_tensor(name)


def open_tensors(folder: Path) -> Stored:
    """Open the safetensors files that transformers would open: the one file, else the shards of the index.

    Raises:
        LoraJaxError: There is none, a shard is missing, a file is cut off or no safetensors file, or two
            shards hold the same tensor.
    """
    if (folder / WHOLE).exists():
        opened = {WHOLE: _open(folder / WHOLE, WHOLE)}
    elif (folder / INDEX).exists():
        try:
            shards = list(load_json(folder / INDEX)["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise LoraJaxError(f"{folder / INDEX} has no weight_map ({error}): fetch it again.") from error
        places = {inside(folder, name, str(folder / INDEX)) for name in shards}
        opened = {path.name: _open(path, INDEX) for path in sorted(places)}
    else:
        others = sorted(path.name for path in folder.glob("*.bin"))
        hint = f" but {others}: convert it to safetensors first" if others else ": give a checkpoint's folder"
        raise LoraJaxError(f"{folder} has neither {WHOLE} nor {INDEX}{hint}.")
    files: dict[str, Any] = {}
    for file_name, file in opened.items():
        names = file.keys()  # the file itself is no mapping, so we cannot iterate over it
        for name in names:
            if name in files:
                raise LoraJaxError(
                    f"{folder / file_name} holds {name}, which another file of {INDEX} holds too: remove the"
                    " file that does not belong there, or fetch the folder again."
                )
            files[name] = file
    return Stored(folder, files)


def _open(path: Path, named_by: str) -> Any:
    from safetensors import safe_open

    if not path.exists():
        raise LoraJaxError(f"{path} is missing, {named_by} names it: fetch it again.")
    with reading_tensors(path, "it is cut off or another kind of file, fetch it again"):
        return safe_open(path, "numpy")


def write_tensors(
    folder: Path, sizes: Mapping[str, int], build: Callable[[str], np.ndarray], shard_bytes: int = SHARD_BYTES
) -> None:
    """Write one file, or shards and their index.

    We build tensors shard by shard, so at most shard_bytes are held beside the model.

    Args:
        folder: The folder.
        sizes: Bytes of each tensor.
        build: Returns a tensor by its name.
        shard_bytes: Largest size of a shard.
    """
    shards = _split(sizes, shard_bytes)
    names = [f"model-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
    if len(shards) == 1:
        names = [WHOLE]
    for file_name, tensors in zip(names, shards, strict=True):
        write_safetensors(folder / file_name, {name: build(name) for name in tensors}, {"format": "pt"})
        with (folder / file_name).open("rb") as file:
            os.fsync(file.fileno())
        # the library makes files that only their owner may read
        (folder / file_name).chmod(folder.stat().st_mode & 0o666)
    if len(shards) > 1:
        weight_map = {name: file for file, shard in zip(names, shards, strict=True) for name in shard}
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}
        (folder / INDEX).write_text(json.dumps(index, indent=2), "utf-8")


def _split(sizes: Mapping[str, int], shard_bytes: int) -> list[list[str]]:
    """Return the names in runs of at most shard_bytes each. A larger tensor is a run of its own."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, n_bytes in sizes.items():
        if shards[-1] and filled + n_bytes > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += n_bytes
    return shards


def list_names(names: Iterable[str], most: int = 4) -> str:
    """Return the first names of a list, and how many more there are."""
    names = sorted(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
