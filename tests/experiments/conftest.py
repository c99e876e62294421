"""One place and one undisturbed sweep for all tests here."""

from pathlib import Path

import pytest

from tests.experiments.place import N_RUNS, Place


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="session")
def whole(place: Place) -> Path:
    """The results of a sweep that nothing disturbed."""
    folder = place.folder / "whole"
    code, out, err = place.call(place.config, "--out", folder)
    assert code == 0, err
    assert "alpha_N" in out
    assert f"Report: {folder / 'report.html'}" in out
    assert f"[{N_RUNS}/{N_RUNS}]" in err
    return folder
