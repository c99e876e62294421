"""Where a page comes from: links to the config that made it and to the pages of docs/ that explain it."""

import os
from html import escape
from pathlib import Path
from urllib.parse import quote

CHECKOUT = Path(__file__).resolve().parents[3]  # of an installed package a folder without docs/
GLOSSARY = "docs/glossary.md"


def show_sources(folder: Path, command: str, guide: str) -> str:
    """Return one paragraph of HTML that names the config of a page and the documentation of its kind.

    A file becomes a link if it lies in the same checkout, or below the same current folder, as the page.
    Links are relative, so that they hold on another machine. Any other file is named in words.

    Args:
        folder: The folder of the page.
        command: The command that made the results. Its first word that ends in .py is the config.
        guide: The page that explains this one, such as "docs/latency.md".
    """
    config = next((word for word in command.split() if word.endswith(".py")), None)
    made = "" if config is None else f"The config is {_link(folder, config)}, as the file is today. "
    place = "" if (CHECKOUT / guide).is_file() else " Both are in the repository of lora_jax."
    explained = f"{_link(folder, guide)} explains this page, and {_link(folder, GLOSSARY)} its words."
    return f'<p class="note">{made}{explained}{place}</p>'


def _link(folder: Path, name: str) -> str:
    """Return a file as a relative link where it is there and near the page, else its name alone."""
    page = folder.resolve()
    for root in (CHECKOUT, Path.cwd()):
        target = (root / name).resolve()
        if target.is_file() and target.is_relative_to(root) and page.is_relative_to(root):
            address = quote(Path(os.path.relpath(target, page)).as_posix())
            return f'<a href="{escape(address)}">{escape(name)}</a>'
    return f"<code>{escape(name)}</code>"
