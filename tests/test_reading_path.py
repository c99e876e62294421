"""The reading path of docs/architecture.md is as short as it says, and follows the imports."""

import re
from pathlib import Path

from tests.test_imports import ROOT, read_imports

MOST_FILES = 12


def read_path() -> list[Path]:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.split("### From a table to an interval")[1].split("\nA law is")[0]
    return [ROOT / name for name in re.findall(r"^\d+\. `([^`]+)`", section, re.MULTILINE)]


def modules_imported(path: Path) -> set[str]:
    """Return the modules that a file imports, also those inside functions, and the packages they are in."""
    names = [name.split(".") for _, name in read_imports(path)]
    return {".".join(parts[:n]) for parts in names for n in range(1, len(parts) + 1)}


def test_the_path_is_short_and_each_file_is_imported_by_one_before_it() -> None:
    files = read_path()
    assert 1 < len(files) <= MOST_FILES
    seen = modules_imported(files[0])
    for path in files[1:]:
        assert path.exists(), path
        assert ".".join(path.relative_to(ROOT).with_suffix("").parts) in seen, path
        seen |= modules_imported(path)


def test_the_path_names_the_functions_of_its_files() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for path in read_path():
        [line] = re.findall(rf"^\d+\. `{re.escape(str(path.relative_to(ROOT)))}`: (.*)$", text, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", line):
            assert re.search(rf"\b{name}\b", path.read_text(encoding="utf-8")), (path, name)
