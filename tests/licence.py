"""A small real corpus: the project's own licence text, cut into documents."""

from pathlib import Path

LINES = (Path(__file__).parents[1] / "LICENSE").read_text().splitlines()


def write_licence(folder: Path, n_documents: int, n_lines: int | None = None) -> Path:
    """Write 0.txt, 1.txt, ... and return the folder. n_lines: of each; None deals all lines out evenly."""
    folder.mkdir(parents=True, exist_ok=True)
    size = n_lines or len(LINES) // n_documents
    for number in range(n_documents):
        (folder / f"{number}.txt").write_text("\n".join(LINES[number * size : (number + 1) * size]))
    return folder
