"""lora-jax fit --by COLUMN: one law, or approach 1 or 2, on every group of a table, in one call."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lora_jax.commands.approaches import fit_approach, write_approach
from lora_jax.commands.fit_options import APPROACHES
from lora_jax.commands.fit_questions import needs_loss
from lora_jax.commands.table_options import command_line, load_table
from lora_jax.errors import LoraJaxError
from lora_jax.files import to_json

if TYPE_CHECKING:
    from lora_jax.scaling.group_results import GroupResult
    from lora_jax.scaling.tables.groups import Group
    from lora_jax.scaling.tables.table import RunTable


def run_groups(arguments: argparse.Namespace, table: "RunTable") -> int:
    """Fit every group as `--where COLUMN=VALUE` would; a group that cannot be fitted has its reason."""
    from lora_jax.commands.waiting import waiting
    from lora_jax.report.fit.group_rows import print_groups
    from lora_jax.scaling.documents import group_to_document
    from lora_jax.scaling.progress import begin_step, unheard
    from lora_jax.scaling.tables.groups import folder_names, groups_of
    from lora_jax.scaling.tables.table import read_cells

    # with conditions a group without rows is one that they leave out
    cells = [] if arguments.where else read_cells(arguments.table, arguments.by)
    groups = groups_of(table, arguments.by, cells)
    names = folder_names(groups)
    entries = []
    with waiting():
        done = begin_step(f"fitting {len(groups)} groups", len(groups))
        for group, name in zip(groups, names, strict=True):
            with unheard():  # the steps of a group's fit
                entries.append(_fit_group(arguments, group, name))
            done(1)
    refused = [entry for entry in entries if entry.not_fitted is not None]
    if len(refused) == len(entries):
        raise LoraJaxError(
            f"No group of {table.source} can be fitted; {groups[0].words}: {refused[0].not_fitted}"
        )
    page = None if arguments.out is None else _write_overview(arguments, table, entries)
    if arguments.json:
        print(to_json([group_to_document(entry) for entry in entries]))
        return 0
    print_groups(arguments.by, entries)
    if page is not None:
        print(f"Report: {page}")
    return 0


def _fit_group(arguments: argparse.Namespace, group: "Group", name: str) -> "GroupResult":
    """Return what a group gives, without its bulk, or why there is nothing; its files go into its folder."""
    from lora_jax.scaling.group_results import GroupResult

    found = GroupResult(dict(zip(group.columns, group.values, strict=True)))
    own = argparse.Namespace(**{**vars(arguments), "where": [*arguments.where, *group.conditions]})
    folder = None if arguments.out is None else arguments.out / name
    try:
        table = load_table(own, needs_loss(own))
        found = _fit_table(own, table, folder, found)
    except LoraJaxError as problem:
        return replace(found, not_fitted=" ".join(str(problem).splitlines()))
    return found if folder is None else replace(found, folder=name)


def _fit_table(
    arguments: argparse.Namespace, table: "RunTable", folder: Path | None, found: "GroupResult"
) -> "GroupResult":
    """Return the group with its answer, and write all of it into the folder where there is one."""
    from lora_jax.commands.fit import fit_one_law, write_law

    if arguments.law in APPROACHES:
        approach, draw = fit_approach(arguments, table)
        if folder is not None:
            write_approach(approach, draw, command_line(sys.argv[1:]), folder)
        return replace(found, approach=approach)
    report = fit_one_law(arguments, table)
    if folder is not None:
        write_law(report, folder)
    return replace(found, fit=report.without_bulk())


def _write_overview(
    arguments: argparse.Namespace, table: "RunTable", entries: Sequence["GroupResult"]
) -> Path:
    from lora_jax.report.fit.group_rows import all_rows, count_words, doubts_of
    from lora_jax.report.kit.answer_page import Answer, write_answer
    from lora_jax.scaling.documents import groups_to_document
    from lora_jax.scaling.group_results import GroupsReport

    report = GroupsReport(tuple(arguments.by), arguments.law, table.source, tuple(entries))
    heading = f"{arguments.law} by {', '.join(arguments.by)}: {table.source}"
    words, tables = count_words(entries), [all_rows(arguments.by, entries)]
    document = groups_to_document(report)
    command, doubts = command_line(sys.argv[1:]), doubts_of(entries)
    answer = Answer("groups", heading, command, words, tables, [], doubts, document)
    return write_answer(answer, arguments.out)
