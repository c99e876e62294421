"""Whether the table of a results folder has all its records. Everybody who reads a runs.csv uses this rule.

The records, runs/*.json, are the truth. A row is appended to runs.csv after its record is there, perhaps by
one of several processes on several machines. So a row can be missing or torn. Here we compare names, which is
cheap. `lora_jax.runs.store.RunStore.renew_table` compares every cell.
"""

import csv
import io
import os
from collections import Counter
from pathlib import Path

from lora_jax.errors import LoraJaxError

TABLE = "runs.csv"
RECORDS = "runs"  # the folder of the records, beside the table


def list_records(folder: Path) -> list[os.DirEntry[str]]:
    """Return the files of a results folder's records, by name, without those that are not finished yet."""
    try:
        with os.scandir(folder / RECORDS) as entries:
            found = [entry for entry in entries if entry.name.endswith(".json") and entry.name[0] != "."]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(found, key=lambda entry: entry.name)


def find_lag(folder: Path) -> str | None:
    """Return how the table of a results folder differs from its records, as the end of "FOLDER/runs.csv ...".

    Returns:
        None if it has a row for each record, and no other. None also if there are no records, because then
        there is only the table.
    """
    wanted = [entry.name.removesuffix(".json") for entry in list_records(folder)]
    if not wanted:
        return None
    try:
        text = (folder / TABLE).read_text("utf-8", "replace")  # damaged bytes are no reason to stop
        header, *lines = csv.reader(io.StringIO(text, newline="")) if text else [[]]
    except FileNotFoundError:
        return f"is missing, and {RECORDS}/ holds {len(wanted)} records"
    except (OSError, csv.Error) as error:
        return f"cannot be read ({error})"
    torn = [number for number, line in enumerate(lines, 2) if len(line) != len(header)]
    if torn:
        return f"has a torn line, row {torn[0]}"
    if not text.endswith("\n"):
        return "has a torn line, its last"
    place = header.index("run_id") if "run_id" in header else None
    return _compare([] if place is None else [line[place] for line in lines], wanted)


def _compare(found: list[str], wanted: list[str]) -> str | None:
    missing = sorted({*wanted}.difference(found))
    if missing:
        return f"lacks {len(missing)} of the {len(wanted)} records in {RECORDS}/, such as {missing[0]}"
    strangers = sorted({*found}.difference(wanted))
    if strangers:
        return f"has rows without a record ({len(strangers)}, such as {RECORDS}/{strangers[0]}.json)"
    twice = [run_id for run_id, n in Counter(found).items() if n > 1]
    return f"has several rows of a run ({len(twice)}, such as {twice[0]})" if twice else None


def find_folder(path: Path) -> Path | None:
    """Return the results folder that a path means, which is the folder or its runs.csv.

    None if it means none.
    """
    if path.is_dir():
        return path
    return path.parent if path.name == TABLE and path.exists() else None


def refuse_lag(path: Path) -> None:
    """Refuse a results folder, or its runs.csv, if the table lacks a record or has other runs.

    Raises:
        LoraJaxError: The table differs. The message says how, and how to renew it.
    """
    folder = find_folder(path)
    lag = None if folder is None else find_lag(folder)
    if folder is not None and lag is not None:
        raise LoraJaxError(f"{folder / TABLE} {lag}: run `lora-jax fit {folder}`, which writes it anew.")
