"""A hook of mkdocs: put the files outside docs/ that pages link to into the site, under files/.

Pages link to figures, result pages and configs of the checkout, for a reader on a code host. The site has
only docs/, so each linked file is copied into it. A link to a results folder leads to its report.html, and
a link to the README to the site's first page.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\((?:\.\./)+([^)#\s]+)")


def find_home(target: str) -> str:
    """Return the file of the checkout that stands for a link's target."""
    return f"{target.rstrip('/')}/report.html" if (ROOT / target).is_dir() else target


def on_files(files: Files, config: Any) -> Files:
    for page in list(files.documentation_pages()):
        for home in map(find_home, LINK.findall(page.content_string)):
            known = home == "README.md" or files.get_file_from_path(f"files/{home}") is not None
            if not known and (ROOT / home).is_file():
                files.append(File.generated(config, f"files/{home}", abs_src_path=str(ROOT / home)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Lead links that leave docs/ to the copies; a target that is nowhere stays, and mkdocs warns of it."""
    up = "../" * page.file.src_uri.count("/")

    def lead(match: re.Match[str]) -> str:
        home = find_home(match[1])
        if home == "README.md":
            return f"]({up}index.md"
        return f"]({up}files/{home}" if files.get_file_from_path(f"files/{home}") else match[0]

    return LINK.sub(lead, markdown)
