"""The edge to safetensors and tokenizers: what they raise is told as a mistake with a file, or as no room."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lora_jax.errors import LoraJaxError


@contextlib.contextmanager
def reading_tensors(path: Path, remedy: str) -> Iterator[None]:
    """Turn what safetensors raises while a file is opened or a tensor is read into a LoraJaxError."""
    from safetensors import SafetensorError

    try:
        yield
    # A header that is damaged may be no JSON, no UTF-8, or name a type that NumPy has not.
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise LoraJaxError(f"{path} is no whole safetensors file ({_line(error)}): {remedy}.") from error


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file tensor by tensor, which holds no second copy of them in memory.

    Raises OSError where there is no room for it; the library has an error of its own, which says so in words.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(dict(tensors), path, metadata=dict(metadata))
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error


def parse_tokenizer(text: str, wrong: str, remedy: str) -> Any:
    """Return the `tokenizers.Tokenizer` of a tokenizer.json's text; LoraJaxError `wrong` where it is none."""
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # the library raises a bare Exception for a file that it does not understand
        raise LoraJaxError(f"{wrong} ({_line(error)}): {remedy}.") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
