"""Text as names of files: plain, one each; and files that another file names lie beside it."""

import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_jax.errors import LoraJaxError
from lora_jax.names import LONGEST_ID, inside, is_plain, plain_name, shorten_id, unique_names

HOSTILE = (
    "../../../escaped", "/etc/passwd", "..", ".", "", " ", "a/b", "a\\b", "a\0b", "a\nb", "a b", "A-B", "a-b",
    "~", "~root", "-rf", ".hidden", "con", "NUL.txt", "x" * 300, "x" * 301, "\u6a21\u578b", "\u6a21\u5757",
    "\u202eabc", "\ud800", "caf\u00e9", "cafe\u0301", "figures",
)  # fmt: skip
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=80), st.text("ab-. /", max_size=4))
ALLOWED = set(string.ascii_letters + string.digits + "._-")


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(TEXTS, unique=True, max_size=12))
def test_every_text_has_a_plain_name_of_its_own(texts: list[str]) -> None:
    names = unique_names(texts, taken=["figures"])
    assert len({name.lower() for name in (*names, "figures")}) == len(texts) + 1
    for name in names:
        assert set(name) <= ALLOWED
        assert 0 < len(name) < 80
        assert name[0] not in ".-"
        assert is_plain(name)


def test_hostile_texts_are_all_different() -> None:
    assert len({name.lower() for name in unique_names(HOSTILE)}) == len(HOSTILE)


def test_a_usual_label_is_its_own_name() -> None:
    assert unique_names(["LoRA r 4", "BitFit"]) == ["LoRA-r-4", "BitFit"]


def test_a_name_does_not_depend_on_which_of_the_others_are_there() -> None:
    both = unique_names(["r=4", "r/4", "other"])
    assert both == [*unique_names(["r=4", "r/4"]), "other"]
    assert unique_names(["r/4", "r=4"]) == [both[1], both[0]]


def test_a_text_that_is_anothers_hashed_name() -> None:
    hashed = unique_names(["a b", "a-b"])[0]
    names = unique_names(["a b", "a-b", hashed])
    assert len(set(names)) == 3


@pytest.mark.parametrize("name", ["con", "COM1", "nul.txt"])
def test_names_of_devices_are_not_kept(name: str) -> None:
    assert plain_name(name).lower() != name.lower()


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=400))
def test_an_id_fits_in_a_file_name_and_keeps_its_end(words: str) -> None:
    found = shorten_id(words, "lr0.001-s0-0123456789")
    assert len(found.encode()) <= LONGEST_ID
    assert found.endswith("-lr0.001-s0-0123456789")
    if len(words) < 40:
        assert found == f"{words}-lr0.001-s0-0123456789"


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x", "a/b", "", ".", "..", "a\\b", "a\0", "a\nb", "x" * 256, None, 7, ["a"]]
)
def test_a_file_that_is_named_lies_beside_who_names_it(name: object, tmp_path: Path) -> None:
    assert not is_plain(name)
    with pytest.raises(LoraJaxError, match=r"index\.json names the file .*it must be a plain file name"):
        inside(tmp_path, name, "index.json")
    assert inside(tmp_path, "model-1.safetensors", "index.json") == tmp_path / "model-1.safetensors"
