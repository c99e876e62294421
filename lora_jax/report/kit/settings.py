"""The settings of a sweep's runs: those that all share, once, and those that differ, run by run."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from lora_jax.identity import flatten
from lora_jax.report.kit.numbers import MISSING


class Provenance(Protocol):
    """A record that says what made it."""

    @property
    def device(self) -> str: ...
    @property
    def git_commit(self) -> str | None: ...
    @property
    def versions(self) -> Mapping[str, Any]: ...


def list_provenance(records: Iterable[Provenance]) -> dict[str, str]:
    """Return the devices, commits and versions that made the records, each that occurs once."""
    seen: dict[str, list[str]] = {}
    for record in records:
        facts = {"device": record.device, "git commit": record.git_commit or "not in a repository"}
        for name, value in {**facts, **flatten(record.versions)}.items():
            if value not in seen.setdefault(name, []):
                seen[name].append(value)
    return {name: ", ".join(values) for name, values in seen.items()}


def split_settings(
    configs: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Split configs by run_id into what all runs share and what differs.

    Returns:
        The value of each shared setting, and for each other setting its value by run_id. A run without the
        setting has an en dash.
    """
    known: dict[str, dict[str, str]] = {}  # parts of a config, flat: thousands of runs share them
    flat: dict[str, dict[str, str]] = {}
    for run_id, config in configs.items():
        settings = flat[run_id] = {}
        for name, part in config.items():
            key = json.dumps({name: part})
            if key not in known:
                known[key] = flatten({name: part})
            settings |= known[key]
    names = dict.fromkeys(name for settings in flat.values() for name in settings)
    common, swept = {}, {}
    for name in names:
        values = {run_id: settings.get(name, MISSING) for run_id, settings in flat.items()}
        if len(set(values.values())) == 1:
            common[name] = next(iter(values.values()))
        else:
            swept[name] = values
    return common, swept
