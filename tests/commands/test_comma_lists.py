"""An option of several values wants commas, and says so in one sentence to whoever writes spaces."""

import argparse
from typing import Any

import pytest

from lora_jax import cli
from lora_jax.commands.comma_lists import LISTED, CommaList, CommaText, refuse_spaces
from lora_jax.errors import LoraJaxError


def commands() -> dict[str, argparse.ArgumentParser]:
    parser, _ = cli._build_parser()
    [found] = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(found.choices)


FOUND = [
    (name, action.type)
    for name, command in commands().items()
    for action in command._actions
    if isinstance(action.type, CommaList)
]
KINDS = [pytest.param(name, kind, id=f"{name} {kind.option}") for name, kind in FOUND]
REQUIRED = {"compile --mesh": ["--target", "h100:2"]}
BEFORE = {
    "evaluate": ["model", "--task", "sst2"],
    "coordinates": ["configs/a.py"],
    "compile": ["configs/a.py"],
}


def test_there_are_some() -> None:
    named = {kind.option for _, kind in FOUND}
    assert named >= {
        "--widths",
        "--depths",
        "--steps",
        "--save-at",
        "--answers",
        "--target",
        "--mesh",
        "--slurm",
    }


def test_every_option_with_a_comma_in_its_metavar_is_of_this_kind() -> None:
    for name, command in commands().items():
        for action in command._actions:
            if action.nargs is None and isinstance(action.metavar, str) and "," in action.metavar:
                assert isinstance(action.type, CommaList), (name, action.option_strings)


@pytest.mark.parametrize(("command", "kind"), KINDS)
def test_it_reads_its_own_example_with_spaces_behind_the_commas_too(command: str, kind: CommaList) -> None:
    assert kind.option in {one.option for one in commands()[command].get_default(LISTED)}
    read = kind(kind.example)
    assert kind.example.count(",") >= 1
    if isinstance(kind, CommaText):
        assert read == kind.example
    else:
        assert len(read) == kind.example.count(",") + 1
        assert kind(kind.example.replace(",", " , ")) == read


@pytest.mark.parametrize("spoil", ["{},", ",{}", "{},,{}", ""])
@pytest.mark.parametrize(("command", "kind"), KINDS)
def test_a_value_that_is_empty_is_refused(command: str, kind: CommaList, spoil: str) -> None:
    first = kind.example.split(",")[0]
    with pytest.raises(LoraJaxError, match=f"^{kind.option} got .* with commas .* {kind.example}\\.$"):
        kind(spoil.format(first, first))


@pytest.mark.parametrize("form", ["{} {}", "{}={}"])
@pytest.mark.parametrize(("command", "kind"), KINDS)
def test_spaces_are_answered_by_one_sentence(
    command: str, kind: CommaList, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, *_ = kind.example.split(",")
    more = REQUIRED.get(f"{command} {kind.option}", [])
    given = [*form.format(kind.option, first).split(), second]
    assert cli.main([command, *BEFORE.get(command, ["configs/a.py"]), *given, *more]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"lora-jax: {kind.option} got {first!r} and then {second!r}, it wants values with commas between them"
        f" and no spaces, such as {kind.example}.\n"
    )


@pytest.mark.parametrize("word", ["seed=1", "configs/quickstart.py", "quickstart", "model.width=2"])
@pytest.mark.parametrize(("command", "kind"), KINDS)
def test_a_config_or_an_override_behind_it_is_none_of_its_values(
    command: str, kind: CommaList, word: str
) -> None:
    if kind.option in ("--answers", "--target") and "=" not in word:
        return  # their commands have no word that may stand there
    arguments: Any = argparse.Namespace(**{LISTED: (kind,)})
    refuse_spaces([kind.option, kind.example, word], [word], arguments)
