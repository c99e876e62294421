"""The folder of derived files: token stores, trained tokenizers, prepared tensorflow-datasets."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Generator
from pathlib import Path

from lora_jax.errors import LoraJaxError
from lora_jax.files import write_atomically
from lora_jax.temporaries import held, sweep, temporary_beside


@contextlib.contextmanager
def explain_disk_errors(folder: Path) -> Generator[None]:
    """Turn a full or forbidden disk into a LoraJaxError that names the folder.

    Wrap only writing in it. An error of reading the user's text must name that text instead.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = "its disk is full: free some space"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            what = f"it cannot be written ({error.strerror}): mend that"
        else:
            raise
        raise LoraJaxError(
            f"The cache folder is {folder} and {what}, or point LORA_JAX_CACHE at another folder."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a small file of the cache.

    Raises:
        LoraJaxError: The disk refuses. The message names the cache.
    """
    with explain_disk_errors(path.parent):
        write_atomically(path, text)


@contextlib.contextmanager
def publish_folder(target: Path, is_whole: Callable[[Path], bool]) -> Generator[Path]:
    """Yield a temporary folder beside `target`. It becomes `target` if the block ends well.

    If another process has published a whole `target` in the meantime, that one stays and this one is dropped.
    Both hold the same content, because the folder's name is a hash of everything that it derives from. A
    `target` that is not whole, after damage or a stray edit, is replaced.

    Args:
        target: The folder.
        is_whole: Says whether a folder is whole.
    """
    with explain_disk_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent, target.name)
        temporary = temporary_beside(target)
        temporary.mkdir(mode=0o700)
    try:
        with held(temporary):
            yield temporary
        if target.exists() and not is_whole(target):
            broken = temporary_beside(target, "old")
            os.rename(target, broken)
            shutil.rmtree(broken)
        try:
            os.rename(temporary, target)
        except OSError:
            if not is_whole(target):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
