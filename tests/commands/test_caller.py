"""Who runs a config file: where its results go, and what they say that they were made by."""

from pathlib import Path

import pytest

from lora_jax.commands.caller import INSTALLED, Caller, find_config

ROOT = Path(__file__).parents[2]


def test_an_installed_command_works_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert INSTALLED.results("tiny").resolve() == tmp_path / "results" / "tiny"
    assert INSTALLED.spell("scaling", Path("tiny.py"), ["seed=1"]) == "lora-jax scaling tiny.py seed=1"
    elsewhere = tmp_path.parent / "other.py"
    assert INSTALLED.spell("scaling", elsewhere, []) == f"lora-jax scaling {elsewhere}"


def test_a_checkout_keeps_its_results_wherever_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checkout = Caller("./launch.sh", ROOT, "this checkout")
    assert checkout.results("tiny") == ROOT / "results" / "tiny"
    said = checkout.spell("scaling", ROOT / "configs" / "quickstart.py", ["--halving"])
    assert said == "./launch.sh scaling configs/quickstart.py --halving"


def test_the_quickstart_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(Path("quickstart")).read_text() == (ROOT / "configs" / "quickstart.py").read_text()
    assert find_config(Path("other")) == Path("other")
    (tmp_path / "quickstart").write_text("")
    assert find_config(Path("quickstart")) == Path("quickstart")
