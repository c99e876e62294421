"""A dashboard reads nothing that the runs of a sweep do not log."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lora_jax.runs.dashboard import make_workspace, read_tracked, to_spec
from lora_jax.runs.wandb_store import read_store
from tests.experiments.place import Place

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
NOT_ON_A_CPU = {"device_memory_bytes", "flops_utilisation"}  # a row has them where JAX tells them


@dataclass
class Logged:
    """What runs have logged: names of config fields, and of values in rows and summaries."""

    config: set[str] = field(default_factory=set)
    history: set[str] = field(default_factory=set)
    summary: set[str] = field(default_factory=set)


def list_names(values: dict[str, Any], before: str = "") -> Iterator[str]:
    """Yield the names of values, those of nested ones with points."""
    for name, value in values.items():
        yield before + name
        if isinstance(value, dict):
            yield from list_names(value, f"{before}{name}.")


def read_logged(paths: list[Path]) -> Logged:
    found = Logged()
    for path in paths:
        for record in read_store(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                found.config |= {*list_names(_values(record.run.config.update))}
            elif kind == "history":
                found.history |= {*_values(record.history.item)}
            elif kind == "summary":
                found.summary |= {*list_names(_values(record.summary.update))}
    return found


def _values(items: Any) -> dict[str, Any]:
    """Return items by name; a picture or a table, which wandb takes apart, is there as a whole."""
    return {item.key or item.nested_key[0]: json.loads(item.value_json) for item in items}


def read_when_whole(folder: Path) -> Logged:
    """Return what runs have logged, once wandb's processes have written the ends of all."""
    end = time.monotonic() + 30
    paths = sorted((folder / "wandb").glob("offline-run-*/*.wandb"))
    while not all(any(r.WhichOneof("record_type") == "exit" for r in read_store(path)) for path in paths):
        assert time.monotonic() < end
        time.sleep(0.2)
    return read_logged(paths)


@pytest.mark.slow
def test_every_metric_of_a_panel_is_one_that_the_runs_log(place: Place, tmp_path: Path) -> None:
    code, _, err = place.call(place.config, "--out", tmp_path, tracker="wandb")
    assert code == 0, err
    logged = read_when_whole(tmp_path)
    rows = logged.history | logged.summary
    sweep = read_tracked(tmp_path)
    assert len(set(sweep.colors.values())) == 3, "a color for each size"
    spec = to_spec(make_workspace(sweep))
    n_checked = 0
    for section in spec["spec"]["section"]["panelBankConfig"]["sections"]:
        for panel in section["panels"]:
            config = panel["config"]
            if panel["viewType"] == "Run History Line Plot":
                assert {*config["metrics"], config["xAxis"]} <= logged.history | {"_step"} | NOT_ON_A_CPU
            elif panel["viewType"] == "Scatter Plot":
                for kind, name in (config[axis].split(":") for axis in ("xAxis", "yAxis")):
                    if kind == "config":
                        assert re.sub(r"\.value", "", name) in logged.config
                    else:
                        assert name in logged.summary
            elif panel["viewType"] == "Media Browser":
                assert {*config["mediaKeys"]} <= rows
                assert "figures/residuals" in config["mediaKeys"]
            elif panel["viewType"] == "Vega2":
                [key] = re.findall(r'"tableKey", "value": "([^"]*)"', json.dumps(config))
                assert key in rows
            elif panel["viewType"] == "Weave":
                assert config["panel2Config"]["exp"]["fromOp"]["inputs"]["key"]["val"] in rows
            else:
                continue
            n_checked += 1
    assert n_checked == 20
