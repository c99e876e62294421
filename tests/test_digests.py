"""A document or a folder that carries digests of itself is noticed to be damaged, wherever it is."""

import json
from pathlib import Path

import pytest

from lora_jax.digests import (
    FIELD,
    MANIFEST,
    find_damage,
    read_object,
    read_sealed,
    to_sealed_json,
    write_manifest,
)
from lora_jax.errors import Damaged, LoraJaxError

DOCUMENT = {
    "loss": 3.0517578125,
    "n": 7,
    "big": 10**17,
    "label": "LoRA r 4 \u00e9",
    "values": [1.0, -0.0, 1e-9],
    "none": None,
    "nested": {"a": True, "b": [1, [2, "x"]]},
    "nothing": {},
    "not finite": float("nan"),
}


def test_every_byte_changed_is_noticed_or_without_effect(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    text = to_sealed_json(DOCUMENT)
    path.write_text(text)
    expected = read_object(path, "")
    assert expected["not finite"] is None
    assert FIELD not in expected
    whole, noticed = path.read_bytes(), 0
    for place in range(len(whole)):
        for mask in (0x01, 0x20):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
            try:
                found = read_object(path, "delete it")
            except LoraJaxError:
                noticed += 1
                assert read_sealed(path) is None
                continue
            # the name of the digest itself, which then is another field; or a space
            assert {name: found[name] for name in expected} == expected
    assert noticed > 1.5 * len(whole)


def test_an_older_document_without_a_digest_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"loss": 3.5}))
    assert read_object(path, "") == {"loss": 3.5}
    assert read_sealed(path) is None, "a file of the cache must have one"


def test_what_is_read_and_written_again_is_the_same() -> None:
    text = to_sealed_json(DOCUMENT)
    assert to_sealed_json(json.loads(text)) == text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[" * 10**5, "cannot be read"),
        (b"[1]", "holds a list, but it must be an object"),
        (b'{"n": 1, "digest": "0"}', "is damaged or was edited"),
        (None, "is missing"),
    ],
)
def test_what_is_no_document_is_a_sentence_with_its_name(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "record.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LoraJaxError, match=f"record.json {words}.*: mend it") as caught:
        read_object(path, "mend it")
    assert len(str(caught.value).splitlines()) == 1


def test_every_file_of_a_folder_is_compared(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    files = [tmp_path / "a", tmp_path / "inner" / "b", tmp_path / "empty"]
    for path, content in zip(files, (b"one", b"two", b""), strict=True):
        path.write_bytes(content)
    assert find_damage(tmp_path) is None, "without digests nothing is known"
    write_manifest(tmp_path)
    (tmp_path / "new").write_text("what came later is no concern")
    assert find_damage(tmp_path) is None
    for path in files:
        whole = path.read_bytes()
        path.write_bytes(whole + b"x")
        assert find_damage(tmp_path) == path
        assert find_damage(tmp_path, only=["new"]) is None
        path.unlink()
        assert find_damage(tmp_path) == path
        path.write_bytes(whole)
    manifest = tmp_path / MANIFEST
    for content in ("", "{}", manifest.read_text().replace("inner", "outer")):
        whole = manifest.read_text()
        manifest.write_text(content)
        assert find_damage(tmp_path) == manifest
        manifest.write_text(whole)


def test_the_errors_name_their_kind() -> None:
    assert issubclass(Damaged, LoraJaxError)
