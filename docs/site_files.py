"""A hook of mkdocs: put the files outside docs/ that pages link to into the site, under files/.

Pages link to figures, result pages, configs and tests of the checkout, as a reader on a code host follows them. The site
has only docs/, so each linked file is copied beside it. A results folder becomes its report.html.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\((?:\.\./)+([^)#\s]+)")


def find_home(target: str) -> str:
    """Return the file of the checkout that stands for a link's target."""
    if (ROOT / target).is_dir():
        return f"{target.rstrip('/')}/report.html"
    return target


def on_files(files: Files, config: Any) -> Files:
    for page in list(files.documentation_pages()):
        for target in LINK.findall(page.content_string):
            home = find_home(target)
            if home != "README.md" and (ROOT / home).is_file() and not files.get_file_from_path(f"files/{home}"):
                files.append(File.generated(config, f"files/{home}", abs_src_path=str(ROOT / home)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Lead links that leave docs/ to the copies; a target that is nowhere stays, and mkdocs warns of it."""
    up = "../" * page.file.src_uri.count("/")

    def lead(match: re.Match[str]) -> str:
        home = find_home(match[1])
        if home == "README.md":  # the site's first page stands for it
            return f"]({up}index.md"
        return f"]({up}files/{home}" if files.get_file_from_path(f"files/{home}") else match[0]

    return LINK.sub(lead, markdown)
