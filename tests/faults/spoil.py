"""Ways in which text, bytes and JSON documents go wrong, each drawn from a seeded generator."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from random import Random
from typing import Any

NASTY_TEXTS = (
    "", " ", "nan", "NaN", "inf", "-inf", "1e999", "-1e999", "1e-400", "0", "-1", "-0", "1" * 5000, "9" * 25,
    "0x10", "1_000", "1,5", "1e", "--", "-", "=", "a=b=c", "$x^$", "_", "'", '"', "\0", "\n", "\r", "\t",
    "\ufeff", "\u202e", "\ud800", "\u6a21\u578b", "../../x", "/etc/passwd", "/dev/null", "{}", "[]", "null",
    "true", "%s%n", "a" * 10_000, "1e308", "4.9e-324", "3+4j", "lambda: 1", "__import__('os')", "N", "loss",
)  # fmt: skip
NASTY_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 7, 2**63, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "x", "nan",
    [], [[]], [None], {}, {"data": 7}, {"a": {"b": []}}, "dnoe", [1, "a", None], "\ud800", "a" * 5000,
)  # fmt: skip


def hurt_bytes(rng: Random, content: bytes) -> bytes:
    """Return bytes with something wrong: cut, flipped, doubled, emptied, in another encoding."""

    def flip(b: bytes) -> bytes:
        spot = rng.randrange(len(b))
        return b[:spot] + bytes([b[spot] ^ 1 << rng.randrange(8)]) + b[spot + 1 :]

    def put(*what: bytes) -> Callable[[bytes], bytes]:
        def insert(b: bytes) -> bytes:
            spot = rng.randrange(len(b) + 1)
            return b[:spot] + rng.choice(what) + b[spot:]

        return insert

    ways: list[Callable[[bytes], bytes]] = [
        flip,
        flip,
        lambda b: b[: rng.randrange(len(b))],
        lambda b: b"",
        lambda b: b + b,
        put(b"\0", b"\xff", b'"', b"\r", b"\n", b",", b"{", b"]", b"\x1a", b"\xed\xa0\x80"),
        put(b"\xef\xbb\xbf", b"\xff\xfe"),
        put(rng.randbytes(20)),
        lambda b: b"[" * 100_000,
        lambda b: b"\0" * 500,
        lambda b: b"\xef\xbb\xbf" + b,
        lambda b: b"{}",
        lambda b: b'{"data": 7}',
        lambda b: b"null",
        lambda b: b.decode("utf-8", "replace").encode("utf-16"),
        lambda b: rng.randbytes(200),
    ]
    for _ in range(rng.choice((1, 1, 2, 4))):
        content = rng.choice(ways)(content or b"x")
    return content


def hurt_document(rng: Random, document: Any) -> Any:
    """Return a JSON document in which some part is gone, of another type, or out of all proportion."""
    document = json.loads(json.dumps(document))
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        places = list(_places(document))
        if not places:
            return rng.choice(NASTY_VALUES)
        holder, key = rng.choice(places)
        if rng.random() < 0.25:
            del holder[key]
        else:
            holder[key] = deepcopy(rng.choice(NASTY_VALUES))  # or it might be put into itself
    return document


def hurt_json(rng: Random, content: bytes) -> bytes:
    """Return a JSON file, its document or its bytes damaged; a damaged one becomes worse."""
    document = read_document(content)
    if document is None or rng.random() < 0.3:
        return hurt_bytes(rng, content)
    return json.dumps(hurt_document(rng, document)).encode()


def read_document(content: bytes) -> Any:
    """Return what JSON says; None where it is none, or too deep to be walked through."""
    if content.count(b"[") > 5000 and content.startswith(b"[["):
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every list or object of a document with each of its keys; however deep it is."""
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        keys = holder if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in list(keys):
            yield holder, key
            waiting.append(holder[key])
