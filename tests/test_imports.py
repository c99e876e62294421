"""Who may import whom (the table of docs/architecture.md), what stays cheap, and the rules about files."""

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lora_jax"
MODULES = sorted(PACKAGE.rglob("*.py"))
BENCHMARKS = sorted(ROOT.glob("benchmarks/**/*.py"))
DRIVERS = sorted([*ROOT.glob("experiments/**/*.py"), *ROOT.glob("configs/**/*.py"), *BENCHMARKS])
HEAVY = (
    "jax",
    "flax",
    "optax",
    "orbax",
    "tensorflow_datasets",
    "wandb",
    "matplotlib",
    "scipy",
    "grain",
    "tokenizers",
)
NEEDS_NO_JAX = ("scaling", "comparison", "report")
JAX_FAMILY = {"jax", "jaxlib", "flax", "optax", "orbax", "grain"}


def room_of(path: Path) -> str:
    """Return the room of a file: "model" for lora_jax/model/layers.py, "config" for lora_jax/config.py."""
    if not path.is_relative_to(PACKAGE):
        return "benchmarks" if path in BENCHMARKS else "drivers"
    inside = path.relative_to(PACKAGE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def expand(cell: str, rooms: list[str]) -> set[str]:
    """Return the rooms that a 'may import' cell names; `rooms` are those of the rows above it."""
    if "all of the above" in cell:
        return {*rooms}
    cell = re.split(r"[;(]", cell)[0].strip()
    if cell.startswith("nothing"):
        return set()
    allowed: set[str] = set()
    for name in re.split(r",|\band\b", cell):
        if name.strip() == "below":  # "train and below": train and whatever train may import
            allowed |= set().union(*(read_table()[room] for room in allowed))
        elif name.strip():
            allowed.add(name.strip())
    return allowed


_table: dict[str, set[str]] = {}


def read_table() -> dict[str, set[str]]:
    """Return {room: rooms it may import} from the section 'Rooms' of docs/architecture.md."""
    if _table:
        return _table
    text = (ROOT / "docs" / "architecture.md").read_text().split("## Rooms")[1].split("\n## ")[0]
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) != 3 or not cells[0].startswith("`"):
            continue
        paths = re.findall(r"`([^`]+)`", cells[0])
        room = paths[0].removeprefix("lora_jax/").removesuffix(".py").rstrip("/")
        if room == "experiments":
            room = "drivers"
        _table[room] = expand(cells[2], list(_table))
    return _table


@cache
def read_imports(path: Path) -> list[tuple[int, str]]:
    """Return (line, dotted module) of every import in a file, those inside functions included.

    `from a import b` counts as a.b, since b may be a module; a relative import is made absolute.
    """
    found = []
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                package = path.relative_to(ROOT).with_suffix("").parts[: -node.level]
                start = ".".join([*package, *filter(None, [node.module])])
            found += [(node.lineno, f"{start}.{alias.name}") for alias in node.names]
    return found


ROOMS = {room_of(path) for path in MODULES}


def rooms_imported(path: Path) -> list[tuple[int, str]]:
    """Return (line, room) of every import of a room; the package's own `__init__` counts as no room."""
    parts = [(line, name.split(".")) for line, name in read_imports(path)]
    found = [(line, p[1]) for line, p in parts if p[0] == "lora_jax" and len(p) > 1 and p[1] in ROOMS]
    return found + [(line, p[0]) for line, p in parts if p[0] == "benchmarks"]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_table_is_read_whole() -> None:
    table = read_table()
    assert table["errors"] == set()
    assert table["config"] == {"model_config", "optimizer_config", "identity", "ranges", "errors"}
    assert "drivers" in table
    missing = {room_of(path) for path in MODULES + BENCHMARKS} - {"__init__"} - set(table)
    assert not missing, f"docs/architecture.md has no row for {missing}"
    unknown = set().union(*table.values()) - set(table)
    assert not unknown, f"docs/architecture.md lets somebody import {unknown}, which are no rooms of it"


def test_the_table_goes_down_only() -> None:
    above: set[str] = set()
    for room, allowed in read_table().items():
        assert allowed <= above, f"{room} may import {allowed - above}, which come after it"
        above.add(room)


def strays(path: Path) -> list[str]:
    """Return the imports of a file that the table does not allow, each as a sentence."""
    room = room_of(path)
    allowed = read_table().get(room, set()) | {room}
    return [
        f"{name_of(path)}:{line} imports {to}; {room} may import only {sorted(allowed)}"
        for line, to in rooms_imported(path)
        if to not in allowed
    ]


def test_imports_keep_to_the_table() -> None:
    assert [told for path in MODULES + DRIVERS for told in strays(path)] == []


def imports_of_documents(path: Path) -> set[str]:
    """Return the documents of report/ that a file of it imports and may not."""
    document = path.parent.name
    allowed = {"kit": {"kit"}, "sweep": {"kit", "sweep", "fit"}}.get(document, {"kit", document})
    parts = [name.split(".") for _, name in read_imports(path)]
    return {p[2] for p in parts if p[:2] == ["lora_jax", "report"] and len(p) > 2} - allowed


def test_documents_import_the_kit_and_not_each_other() -> None:
    """A document of report/ is a folder; a sweep shows the frontier of a fit."""
    files = sorted((PACKAGE / "report").rglob("*.py"))
    assert {name_of(path): found for path in files if (found := imports_of_documents(path))} == {}


def test_tables_are_read_without_jax() -> None:
    wrong = [
        (name_of(path), name)
        for path in MODULES
        if room_of(path) in NEEDS_NO_JAX
        for _, name in read_imports(path)
        if name.split(".")[0] in JAX_FAMILY
    ]
    assert not wrong


def test_only_drivers_and_tests_import_drivers() -> None:
    wrong = [
        (name_of(path), name)
        for path in MODULES
        for _, name in read_imports(path)
        if name.split(".")[0] in ("benchmarks", "experiments", "configs", "tests")
    ]
    assert not wrong


def heavy_modules_after(*arguments: str) -> list[str]:
    """Run python with `arguments` and return the heavy packages that it imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert len(lines) > 20, "python -X importtime printed no imports"
    imported = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines}
    return sorted(imported & set(HEAVY))


def test_importing_the_package_is_cheap() -> None:
    assert heavy_modules_after("-c", "import lora_jax") == []


def test_help_is_cheap() -> None:
    assert heavy_modules_after("-m", "lora_jax.cli", "--help") == []


def test_help_needs_no_installed_package() -> None:
    """launch.sh shows it before the set-up, by whatever Python there is (-S: without site-packages)."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "lora_jax.cli", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "fit" in done.stdout


def test_no_drawer_of_odds_and_ends() -> None:
    """A file is named after the concept it holds."""
    drawers = r"(.*_)?(utils?|common|base|helpers?|managers?|factory|factories|registry|registries|misc)"
    wrong = [
        name_of(path)
        for path in MODULES + DRIVERS
        if any(re.fullmatch(drawers, part) for part in path.relative_to(ROOT).with_suffix("").parts)
    ]
    assert not wrong


def test_no_file_is_over_400_lines() -> None:
    """A longer one is split by concept."""
    files = [*MODULES, *DRIVERS, *ROOT.glob("tests/**/*.py"), ROOT / "launch.sh"]
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > 400} == {}
