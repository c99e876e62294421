"""Files of tokens: nanoGPT's .bin, llm.c's .bin with a header, Megatron's .bin with an .idx beside it.

References: data_utils of karpathy/nanoGPT (train.bin), dev/data/data_common.py of karpathy/llm.c,
megatron/core/datasets/indexed_dataset.py of NVIDIA/Megatron-LM.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lora_jax.errors import LoraJaxError

HEADER = 256  # int32 numbers in llm.c's header; the first are magic, version and number of tokens
LLMC = {(20240520, 1): np.dtype("<u2"), (20240801, 7): np.dtype("<u4")}  # GPT-2's and Llama 3's tokens
NANOGPT = np.dtype("<u2")
LARGEST = 2**19  # two ids of two bytes seldom look like a smaller number, and 32 such pairs never do
MAGIC = b"MMIDIDX\x00\x00"
MEGATRON = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}  # codes of its integer types
INDEX = struct.Struct("<QBQQ")  # version, type, number of sequences, number of documents + 1


@dataclass(frozen=True)
class TokenFile:
    """Where the tokens of a file lie.

    Attributes:
        path: The file.
        dtype: Type of its ids.
        first: Byte of the first token.
        n_tokens: Number of tokens.
        places: First token of each document and the one after its last, (n, 2). None if there is no index.
    """

    path: Path
    dtype: np.dtype
    first: int
    n_tokens: int
    places: np.ndarray | None


def open_token_file(path: Path) -> TokenFile:
    """Find out what a .bin file holds.

    Raises:
        LoraJaxError: It cannot be read, or its header or index contradicts its size.
    """
    try:
        size = path.stat().st_size
        index = path.with_suffix(".idx")
        if index.is_file():
            return _read_megatron(path, size, index.read_bytes())
        with path.open("rb") as file:
            head = np.frombuffer(file.read(4 * HEADER), "<i4", size // 4 if size < 4 * HEADER else HEADER)
    except OSError as error:
        raise LoraJaxError(f"{error.filename} cannot be read ({error.strerror}): mend it.") from error
    if len(head) == HEADER and int(head[0]) in {magic for magic, _ in LLMC}:
        return _read_llmc(path, size, [int(one) for one in head[:3]])
    if len(head) >= 32 and (head >= 0).all() and (head < LARGEST).all():
        raise LoraJaxError(
            f"{path} looks like tokens of four bytes without a header, but they must have two bytes (uint16):"
            " write it again, or as llm.c or Megatron do."
        )
    if size % NANOGPT.itemsize:
        raise LoraJaxError(
            f"{path} has {size:,} bytes, but tokens of two bytes (uint16) need an even number: it is cut off"
            " or of another type, write it again."
        )
    return TokenFile(path, NANOGPT, 0, size // NANOGPT.itemsize, None)


def _read_llmc(path: Path, size: int, head: list[int]) -> TokenFile:
    magic, version, n_tokens = head
    dtype = LLMC.get((magic, version))
    if dtype is None:
        raise LoraJaxError(
            f"{path} has version {version} in its header of llm.c (magic {magic}), which is not known: write"
            " it again with a newer llm.c."
        )
    wanted = 4 * HEADER + n_tokens * dtype.itemsize
    if size != wanted:
        raise LoraJaxError(
            f"{path} has {size:,} bytes, and its header promises {n_tokens:,} tokens, which are {wanted:,}"
            " bytes: it is cut off, fetch or write it again."
        )
    return TokenFile(path, dtype, 4 * HEADER, n_tokens, None)


def _read_megatron(path: Path, size: int, index: bytes) -> TokenFile:
    wrong = f"{path.with_suffix('.idx')} is no index of Megatron"
    remedy = "fetch or write both files again"
    start = len(MAGIC) + INDEX.size
    if not index.startswith(MAGIC) or len(index) < start:
        raise LoraJaxError(f"{wrong} (it does not begin with MMIDIDX): {remedy}, or take it away.")
    version, code, n_sequences, n_documents = INDEX.unpack_from(index, len(MAGIC))
    if version != 1 or code not in MEGATRON:
        raise LoraJaxError(f"{wrong} that is known (version {version}, type {code}): {remedy}.")
    end = start + 12 * n_sequences + 8 * n_documents
    if len(index) not in (end, end + n_sequences):  # data with pictures has a mode for each sequence
        raise LoraJaxError(f"{wrong} ({len(index):,} bytes, its head promises {end:,}): {remedy}.")
    lengths = np.frombuffer(index, "<i4", n_sequences, start).astype(np.int64)
    pointers = np.frombuffer(index, "<i8", n_sequences, start + 4 * n_sequences)
    documents = np.frombuffer(index, "<i8", n_documents, start + 12 * n_sequences)
    dtype = np.dtype(MEGATRON[code])
    ends = np.cumsum(lengths)
    agrees = (
        (lengths >= 0).all()
        and np.array_equal(pointers, (ends - lengths) * dtype.itemsize)
        and size == int(lengths.sum()) * dtype.itemsize
    )
    if not agrees:
        raise LoraJaxError(
            f"{path} has {size:,} bytes, and its .idx promises {int(lengths.sum()):,} tokens of"
            f" {dtype.itemsize} bytes one after the other: they are not of one data set, {remedy}."
        )
    covers = n_documents and documents[0] == 0 and documents[-1] == n_sequences
    if not covers or (np.diff(documents) < 0).any():
        raise LoraJaxError(f"{wrong} (its documents are not all of its sequences): {remedy}.")
    bounds = np.concatenate([[0], ends])[documents]
    return TokenFile(path, dtype, 0, size // dtype.itemsize, np.stack([bounds[:-1], bounds[1:]], axis=1))
