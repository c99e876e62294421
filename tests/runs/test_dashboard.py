"""A dashboard is built without a server, and what keeps it from being written is a sentence."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_jax import cli
from lora_jax.errors import LoraJaxError
from lora_jax.runs.dashboard import TrackedSweep, make_report, make_workspace, read_tracked, to_spec
from lora_jax.runs.dashboard_panels import Contents
from lora_jax.runs.fit_tables import fit_tables
from lora_jax.runs.tracking import open_tracker
from lora_jax.runs.wandb_run import find_id
from tests.runs.test_tracker import CURVE, FITS, RECORD, stored_runs, wait_for_store
from tests.runs.wandb_server import ENTITY, serving

# wandb-workspaces is written for pydantic 1, of which pydantic 2 warns
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
KINDS = {
    "Run History Line Plot",
    "Scatter Plot",
    "Media Browser",
    "Weave",
    "Vega2",
    "Run Comparer",
}


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with two runs of different size that wandb tracked offline, and a figure."""
    import wandb

    folder = tmp_path_factory.mktemp("tracked")
    wandb.teardown()  # a process that has used wandb before does not read the environment again
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_ENTITY", "a-team")
        tracker = open_tracker("wandb", "tiny", folder, lambda line: None)
        for run_id, n_params in (("small", 100), ("large", 900)):
            config = RECORD.config | {"n_params": n_params}
            tracker.log_run(dataclasses.replace(RECORD, run_id=run_id, config=config), CURVE)
        tracker.finish()
    for path in stored_runs(folder):
        wait_for_store(path)
    (folder / "figures").mkdir()
    (folder / "figures" / "loss_vs_N.png").write_bytes(b"")
    return folder


def list_panels(spec: dict[str, Any]) -> list[dict[str, Any]]:
    sections = spec["spec"]["section"]["panelBankConfig"]["sections"]
    return [panel for section in sections for panel in section["panels"]]


def call(*words: object, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run the command without a login of the person who runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return subprocess.run(
        [sys.executable, "-m", "lora_jax.cli", "dashboard", *map(str, words)],
        env=kept | env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )


def logged_out(folder: Path) -> dict[str, str]:
    return {"HOME": str(folder), "NETRC": str(folder / "netrc"), "WANDB_CONFIG_DIR": str(folder / "config")}


def test_what_the_runs_say_is_what_is_shown(tracked: Path) -> None:
    sweep = read_tracked(tracked)
    assert (sweep.name, sweep.entity, sweep.project) == ("tiny", "a-team", "lora-jax")
    assert sweep.contents == Contents(is_finetuning=False, has_sources=False, figures=("loss_vs_N",))
    assert sweep.colors.keys() == {find_id(tracked, name) for name in ("small", "large")}
    assert len(set(sweep.colors.values())) == 2


def test_a_workspace_of_every_kind_of_panel_is_serialised(tracked: Path) -> None:
    spec = to_spec(make_workspace(read_tracked(tracked)))
    assert json.loads(json.dumps(spec, allow_nan=False)) == spec
    assert (spec["entity"], spec["project"]) == ("a-team", "lora-jax")
    panels = list_panels(spec)
    assert {panel["viewType"] for panel in panels} == KINDS
    assert len({panel["__id__"] for panel in panels}) == len(panels)
    curves = [panel["config"] for panel in panels if panel["config"].get("metrics") == ["loss"]]
    assert {(curve["xAxis"], curve["xLogScale"], curve["yLogScale"]) for curve in curves} == {
        ("n_tokens", True, True),
        ("flops", True, True),
    }
    colors = spec["spec"]["section"]["customRunColors"]
    assert colors.keys() == {find_id(tracked, name) for name in ("small", "large")}


def test_a_report_has_the_panels_of_the_workspace(tracked: Path) -> None:
    sweep = read_tracked(tracked)
    blocks = make_report(sweep).blocks
    shown = [panel._to_model().view_type for block in blocks for panel in getattr(block, "panels", [])]
    assert shown == [panel["viewType"] for panel in list_panels(to_spec(make_workspace(sweep)))]


def test_tables_have_the_columns_that_panels_read(tracked: Path) -> None:
    tables = fit_tables(FITS)
    for panel in list_panels(to_spec(make_workspace(read_tracked(tracked)))):
        if panel["viewType"] == "Vega2":
            [runs] = panel["config"]["userQuery"]["queryFields"]
            [key] = [arg["value"] for field in runs["fields"] for arg in field.get("args", [])]
            assert set(panel["config"]["fieldSettings"].values()) <= set(tables[key.removeprefix("fits/")][0])


def test_fine_tuning_shows_methods_and_dev_scores(tracked: Path) -> None:
    sweep = read_tracked(tracked)
    contents = Contents(is_finetuning=True, has_sources=True, figures=())
    found = make_workspace(dataclasses.replace(sweep, contents=contents))
    text = json.dumps(to_spec(found))
    assert '"methods"' in text
    assert "^dev/" in text
    assert "^heldout_loss/" in text
    assert "fits/" not in text


@settings(derandomize=True, deadline=None, max_examples=40)
@given(name=st.text(min_size=1, max_size=40) | st.sampled_from(["a AND b = c", "not in", "x'\"\\", "1 > 2"]))
def test_runs_are_those_of_the_sweep_whatever_its_name(name: str) -> None:
    sweep = TrackedSweep(Path("f"), name, "", "e", "p", {}, Contents(False, False, ()))
    from wandb_workspaces import expr

    filters = expr.filters_tree_to_v2(expr.expr_to_filters(sweep.filters))
    assert [(one["op"], one["value"]) for one in filters["filters"]] == [("=", name), ("!=", "trunk")]


def test_check_prints_the_workspace(tracked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dashboard", str(tracked), "--check", "--entity", "me", "--project", "mine"]) == 0
    out, err = capsys.readouterr()
    spec = json.loads(out)
    assert (spec["entity"], spec["project"]) == ("me", "mine")
    assert "only the server" in err


# ---- refusals


def test_a_folder_without_tracked_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoraJaxError, match="with --tracker wandb"):
        read_tracked(tmp_path)


def test_a_damaged_file_is_named(tracked: Path, tmp_path: Path) -> None:
    [source, *_] = stored_runs(tracked)
    target = tmp_path / "wandb" / source.parent.name / source.name
    target.parent.mkdir(parents=True)
    content = bytearray(source.read_bytes())
    content[16:200] = b"\xff" * 184
    target.write_bytes(content)
    with pytest.raises(LoraJaxError, match=r"\.wandb cannot be read .*: move its folder away"):
        read_tracked(tmp_path)


def test_a_missing_package_is_named_with_its_command(tracked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(LoraJaxError, match=r"pip install 'lora-jax\[dashboard\]'"):
        make_workspace(read_tracked(tracked))


def test_without_a_key_it_says_how_to_log_in(tracked: Path, tmp_path: Path) -> None:
    done = call(tracked, **logged_out(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert "wandb login" in line


@pytest.mark.slow
def test_without_a_network_it_says_so_soon(tracked: Path, tmp_path: Path) -> None:
    env = {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    done = call(tracked, **logged_out(tmp_path), **env)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "was not written to wandb's server" in line


# ---- with a server


@pytest.mark.slow
def test_a_second_call_writes_the_same_workspace_and_report(tracked: Path, tmp_path: Path) -> None:
    with serving() as server:
        env = logged_out(tmp_path) | {
            "WANDB_API_KEY": "0" * 40,
            "WANDB_BASE_URL": f"http://127.0.0.1:{server.server_port}",
        }
        for _ in range(2):
            done = call(tracked, "--entity", ENTITY, **env)
            assert done.returncode == 0, done.stderr
            assert done.stderr == ""
        words = done.stdout.split()
        assert words[::2] == ["Workspace:", "Report:"]
        server.has_project = False
        refused = call(tracked, "--entity", ENTITY, **env)
    (tracked / "wandb" / "dashboard.json").unlink()
    assert refused.returncode == 2
    assert "not found" in refused.stderr
    assert "wandb sync" in refused.stderr
    first, second, third, fourth = server.saved
    assert (first["type"], second["type"]) == ("runs", "project-view")
    assert (third["id"], fourth["id"]) == ("view1", "view2")
    assert fourth["name"] == second["name"]
    grids = [block for block in json.loads(first["spec"])["blocks"] if block["type"] == "panel-grid"]
    assert len(grids) == 6
    assert all(grid["metadata"]["runSets"][0]["project"]["id"] == "p1" for grid in grids)
