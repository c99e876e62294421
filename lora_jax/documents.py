"""Dataclasses as JSON documents. The types of the fields say how to write and to read them.

A field is the key of the same name, or the one in its type, as in `low: Annotated[float, Key("lo")]`. A field
that has its default value is left out. A field without a default is always there, and null if it is None. A
number that is not finite is null in JSON. We read null as nan if the type is `float` alone.

A class with another document can define `to_document(self)` and `from_document(cls, document)`.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from lora_jax.errors import LoraJaxError

T = TypeVar("T")
PLAIN = {str: "text", int: "a whole number", bool: "true or false", float: "a number"}


@dataclasses.dataclass(frozen=True)
class Key:
    """The name of a field in JSON.

    Attributes:
        name: The name.
    """

    name: str


class Unreadable(ValueError):
    """A document does not fit a type. The message says where, and can follow the name of a file."""


@contextmanager
def reading(path: Path, remedy: str) -> Generator[None]:
    """Turn Unreadable inside the block into a LoraJaxError about a file.

    Args:
        path: The file.
        remedy: What to do, for the end of the message.

    Raises:
        LoraJaxError: The block raised Unreadable.
    """
    try:
        yield
    except Unreadable as problem:
        raise LoraJaxError(f"{path} {problem}: {remedy}.") from None


def check_kind(document: Mapping[str, Any], wanted: str) -> None:
    """Check that a document is of the wanted kind.

    Raises:
        Unreadable: It names another kind, or none.
    """
    kind = document.get("kind")
    if kind != wanted:
        raise Unreadable(f"is of the kind {kind!r}, but it must be {wanted!r}")


def check_format(document: Mapping[str, Any], newest: int) -> None:
    """Check that this version can read a document's format. A document that names no format has format 1.

    Raises:
        Unreadable: The format is of a later version.
    """
    written = document.get("format", 1)
    if not isinstance(written, int) or written > newest:
        raise Unreadable(f"is of format {written!r}, and this version reads up to {newest}")


def to_document(value: Any) -> Any:
    """Return a value as dictionaries, lists, text and numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        own = getattr(value, "to_document", None)
        return own() if own is not None else fields_to_document(value)
    if isinstance(value, Mapping):
        return {name: to_document(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_document(part) for part in value]
    return value.value if isinstance(value, Enum) else value


def fields_to_document(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass by their keys, without fields that have their default value."""
    return {
        key: to_document(part)
        for name, key, _, default in _fields(type(value))
        if (part := getattr(value, name)) is not default
    }


def from_document(kind: type[T], document: Any, where: str = "") -> T:
    """Return the value of the type `kind` that a JSON document holds.

    Keys that the type does not have are skipped.

    Args:
        kind: The type.
        document: The document.
        where: The keys that lead to it, for the message.

    Raises:
        Unreadable: A key is missing, or a value has another type.
    """
    own, is_dataclass = _told_by(kind)
    if own is not None:
        return own(_wanted(document, Mapping, "an object", where))
    if is_dataclass:
        return fields_from_document(kind, document, where)
    return _read(kind, document, where)


@cache
def _told_by(kind: Any) -> tuple[Any, bool]:
    """Return a type's own reading of documents (None if it has none), and whether it is a dataclass."""
    return getattr(kind, "from_document", None), dataclasses.is_dataclass(kind)


def fields_from_document(kind: Any, document: Any, where: str = "") -> Any:
    """Return a dataclass from the fields of a document.

    Raises:
        Unreadable: A key is missing, or a value has another type.
    """
    _wanted(document, Mapping, "an object", where)
    found = {}
    for name, key, hint, default in _fields(kind):
        if key in document:
            found[name] = from_document(hint, document[key], f"{where}.{key}" if where else key)
        elif default is dataclasses.MISSING:
            raise Unreadable(f"{f'{where!r} ' if where else ''}has no {key!r}")
    return kind(**found)


@cache
def _fields(kind: Any) -> tuple[tuple[str, str, Any, Any], ...]:
    """Return (name, key, type, default or MISSING) of each field."""
    hints = typing.get_type_hints(kind, include_extras=True)
    found: list[tuple[str, str, Any, Any]] = []
    for field in dataclasses.fields(kind):
        hint, key = hints[field.name], field.name
        if typing.get_origin(hint) is typing.Annotated:
            hint, told = typing.get_args(hint)
            key = told.name
        found.append((field.name, key, hint, field.default))
    return tuple(found)


def _read(kind: Any, document: Any, where: str) -> Any:
    if kind is Any:
        return document
    if kind in PLAIN:
        return _read_plain(kind, document, where)
    origin, inside = _take_apart(kind)
    if origin in (typing.Union, types.UnionType):
        if document is None and type(None) in inside:
            return None
        (one,) = (part for part in inside if part is not type(None))
        return from_document(one, document, where)
    if origin is tuple:
        _wanted(document, (list, tuple), "a list", where)
        if inside[-1] is not Ellipsis and len(inside) != len(document):
            raise Unreadable(f"{where!r} has {len(document)} entries, but it must have {len(inside)}")
        if inside == (float, ...) and set(map(type, document)) <= {float, int}:
            return tuple(document)  # records may hold a million test values
        kinds = (inside[0],) * len(document) if inside[-1] is Ellipsis else inside
        return tuple(
            from_document(one, part, f"{where}[{i}]")
            for i, (one, part) in enumerate(zip(kinds, document, strict=True))
        )
    if origin is Mapping:
        _wanted(document, Mapping, "an object", where)
        if inside[1] is Any:
            return dict(document)
        return {name: from_document(inside[1], part, f"{where}.{name}") for name, part in document.items()}
    if origin is Literal:
        return _one_of(document, inside, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(_one_of(document, [one.value for one in kind], where))
    raise TypeError(f"{kind} is no type that a document can be read as")


def _one_of(document: Any, known: Sequence[Any], where: str) -> Any:
    if document not in known:
        raise Unreadable(
            f"{where!r} is {repr(document)[:60]}, but it must be {' or '.join(map(repr, known))}"
        )
    return document


@cache
def _take_apart(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    return typing.get_origin(kind), typing.get_args(kind)


def _read_plain(kind: Any, document: Any, where: str) -> Any:
    if kind is float:
        if document is None:
            return math.nan
        if isinstance(document, bool):
            raise Unreadable(f"{where!r} is {document!r}, but it must be a number")
        return _wanted(document, (float, int), PLAIN[kind], where)
    words = PLAIN[kind]
    if kind is int and isinstance(document, bool):
        raise Unreadable(f"{where!r} is {document!r}, but it must be {words}")
    return _wanted(document, kind, words, where)


def _wanted(document: Any, kind: Any, words: str, where: str) -> Any:
    if not isinstance(document, kind):
        shown = repr(document)[:60]
        raise Unreadable(f"{f'{where!r} is ' if where else 'is '}{shown}, but it must be {words}")
    return document
