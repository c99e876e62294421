"""Make file names from labels, and check file names that stand in a file.

Only here does text become part of a path. A user's label may hold any character. What we write to the disk is
a plain name inside the chosen folder.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from lora_jax.errors import LoraJaxError

LONGEST = 60  # letters of a name that we make from a label
LONGEST_ID = 200  # bytes of a run's name: a file name has 255, and a temporary name puts more around it
RESERVED = {
    *("con", "prn", "aux", "nul"),
    *(f"com{i}" for i in range(1, 10)),
    *(f"lpt{i}" for i in range(1, 10)),
}


def plain_name(text: str) -> str:
    """Return a name that any file system accepts: ASCII letters, digits and "._-", at most LONGEST of them.

    Two texts may get the same name. `unique_names` prevents it.
    """
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text)
    plain = plain.strip(".-")[:LONGEST].strip(".-") or "empty"
    return f"{plain}-" if plain.split(".")[0].lower() in RESERVED else plain


def unique_names(texts: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """Return a plain name for each of different texts. No two differ only in case, and none is in `taken`.

    Texts that would share a name get a hash of themselves. So the name of a text does not depend on which
    other texts are there.
    """
    plain = [plain_name(text) for text in texts]
    counts = Counter(name.lower() for name in plain)
    used = {name.lower() for name in (*plain, *taken)}
    shared = {name for name, count in counts.items() if count > 1} | {name.lower() for name in taken}
    names: list[str] = []
    for name, text in zip(plain, texts, strict=True):
        fresh, length = name, 6
        while name.lower() in shared and fresh.lower() in used:
            fresh = f"{name}-{_hash(text, length)}"
            length += 2  # try a longer hash if another text is this very name
        used.add(fresh.lower())
        names.append(fresh)
    return names


def shorten_id(words: str, ending: str) -> str:
    """Return words-ending in a length that a file name can hold.

    Long words are cut. `ending` tells runs apart.
    """
    room = LONGEST_ID - len(ending.encode()) - 1
    cut = words.encode()[:room].decode(errors="ignore") if len(words.encode()) > room else words
    return f"{cut}-{ending}"


def inside(folder: Path, name: object, said_by: str) -> Path:
    """Return folder/name for a file name that stands in another file.

    Args:
        folder: The folder.
        name: The name.
        said_by: The file that holds the name, for the message.

    Raises:
        LoraJaxError: The name is no plain file name, so it could lead out of the folder.
    """
    if not is_plain(name):
        raise LoraJaxError(
            f"{said_by} names the file {_quote(name)}, but it must be a plain file name in {folder}, without"
            " a folder: correct it, or fetch or make it again."
        )
    return folder / str(name)


def is_plain(name: object) -> bool:
    """Return whether this is the name of a file, without a folder, on any system."""
    if not isinstance(name, str) or name in ("", ".", "..") or len(name.encode("utf-8", "replace")) > 255:
        return False
    return name.isprintable() and not set(name) & set("/\\") and not name.isspace()


def _hash(text: str, length: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:length]


def _quote(name: object) -> str:
    text = repr(name)
    return text if len(text) <= 80 else f"{text[:77]}..."
