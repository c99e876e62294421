"""Errors of safetensors and tokenizers, reported as a mistake in a file or as a full disk."""

import contextlib
import os
import re
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lora_jax.errors import LoraJaxError


@contextlib.contextmanager
def reading_tensors(path: Path, remedy: str) -> Generator[None]:
    """Turn the errors of opening a safetensors file and reading its tensors into a LoraJaxError.

    Args:
        path: The file.
        remedy: What to do, for the message.

    Raises:
        LoraJaxError: The block raised such an error.
    """
    from safetensors import SafetensorError

    try:
        yield
    # A damaged header may be no JSON or no UTF-8, or name a type that NumPy does not have.
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise LoraJaxError(f"{path} is no whole safetensors file ({_line(error)}): {remedy}.") from error


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file tensor by tensor, without a second copy in memory.

    Raises:
        OSError: There is no room for it. The library raises an error of its own, which we convert.
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
    """Return the `tokenizers.Tokenizer` of a tokenizer.json's text.

    Args:
        text: The text.
        wrong: What is wrong if it is none, for the message.
        remedy: What to do, for the message.

    Raises:
        LoraJaxError: The text is no tokenizer.
    """
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # the library raises a bare Exception for a file that it does not understand
        raise LoraJaxError(f"{wrong} ({_line(error)}): {remedy}.") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
