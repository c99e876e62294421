"""A sweep's workspace and report on wandb's server, made from its results folder."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lora_jax.digests import read_object, read_result, to_sealed_json
from lora_jax.documents import from_document, reading, to_document
from lora_jax.errors import LoraJaxError
from lora_jax.files import write_atomically
from lora_jax.runs.dashboard_panels import Contents, Section, make_sections
from lora_jax.runs.wandb_run import CONNECT_SECONDS, failures
from lora_jax.runs.wandb_store import StoredRun, read_runs

INSTALL = "pip install 'lora-jax[dashboard]'"
MOST_RUNS = 100  # most runs that a panel shows; by itself wandb shows 10
LONGEST_TITLE = 128  # most characters that wandb accepts


@dataclass(frozen=True)
class TrackedSweep:
    """What a results folder says about a sweep that wandb tracks.

    Attributes:
        folder: The results folder.
        name: Name of the sweep, the group of its runs.
        question: What the sweep asks.
        entity: Whose runs they are. "" is the default of the account that is logged in.
        project: Their project.
        colors: Color of each run, by its id at wandb: one for each size of model.
        contents: What there is to show.
    """

    folder: Path
    name: str
    question: str
    entity: str
    project: str
    colors: Mapping[str, str]
    contents: Contents

    @property
    def filters(self) -> str:
        """wandb's filter of the runs to show.

        It leaves out trunks, because branches have their rows already.
        """
        # We write each character as its number, because wandb-workspaces replaces words and signs, even in
        # quotes.
        name = "".join(f"\\U{ord(letter):08x}" for letter in self.name)
        return f'Metric("Group") == "{name}" and Metric("JobType") != "trunk"'


@dataclass(frozen=True)
class Written:
    """A dashboard on the server, as it was last written.

    Attributes:
        view_name: Name of the workspace's view.
        view_id: Id of that view, by which it is written again.
        report_id: Id of the report.
        workspace_url: Address of the workspace.
        report_url: Address of the report.
    """

    view_name: str = ""
    view_id: str = ""
    report_id: str = ""
    workspace_url: str = ""
    report_url: str = ""


def read_tracked(folder: Path) -> TrackedSweep:
    """Return what a results folder says about its sweep.

    Raises:
        LoraJaxError: The folder holds no sweep, or wandb tracked none of its runs.
    """
    sweep = read_result(folder / "sweep.json") if (folder / "sweep.json").is_file() else {}
    runs = [run for run in read_runs(folder) if run.group]
    if not runs:
        raise LoraJaxError(
            f"{folder} holds no runs that wandb tracked: name the results folder of a sweep that was trained"
            " with --tracker wandb."
        )
    last = runs[-1]
    question = sweep.get("question")
    return TrackedSweep(
        folder=folder,
        name=last.group,
        question=question if isinstance(question, str) else "",
        entity=last.entity,
        project=last.project,
        colors=_choose_colors(runs),
        contents=Contents(
            is_finetuning=any("method" in run.config for run in runs),
            has_sources=any(len(_sources(run)) > 1 for run in runs),
            figures=tuple(sorted(path.stem for path in (folder / "figures").glob("*.png"))),
        ),
    )


def _sources(run: StoredRun) -> Sequence[Any]:
    data = run.config.get("data")
    return data.get("sources", ()) if isinstance(data, dict) else ()


def _choose_colors(runs: Sequence[StoredRun]) -> dict[str, str]:
    """Return a color for each run whose number of parameters is known. Small models are dark."""
    import matplotlib
    from matplotlib.colors import to_hex

    sizes = sorted({run.config["n_params"] for run in runs if "n_params" in run.config})
    if len(sizes) < 2:
        return {}
    colors = matplotlib.colormaps["viridis"]
    shades = {size: to_hex(colors(0.9 * i / (len(sizes) - 1))) for i, size in enumerate(sizes)}
    return {run.wandb_id: shades[run.config["n_params"]] for run in runs if "n_params" in run.config}


def make_workspace(sweep: TrackedSweep) -> Any:
    """Return the workspace, a `wandb_workspaces.workspaces.Workspace`. This needs no server.

    Raises:
        LoraJaxError: wandb-workspaces is not installed.
    """
    _require()
    import wandb_workspaces.workspaces as ws

    return ws.Workspace(
        entity=sweep.entity,
        project=sweep.project,
        name=_title(sweep),
        sections=[
            ws.Section(
                name=section.title,
                panels=section.panels,
                is_open=section.title not in ("Training", "Speed"),
                layout_settings=ws.SectionLayoutSettings(columns=2, rows=2),
            )
            for section in make_sections(sweep.contents)
        ],
        settings=ws.WorkspaceSettings(max_runs=MOST_RUNS),
        runset_settings=ws.RunsetSettings(
            filters=sweep.filters,
            run_settings={name: ws.RunSettings(color=color) for name, color in sweep.colors.items()},
        ),
    )


def make_report(sweep: TrackedSweep) -> Any:
    """Return the report, a `wandb_workspaces.reports.v2.Report`.

    Only the server can complete it, because panels ask there for the number of the project.

    Raises:
        LoraJaxError: wandb-workspaces is not installed.
    """
    _require()
    import wandb_workspaces.reports.v2.interface as wr

    blocks: list[Any] = [wr.P(sweep.question)] if sweep.question else []
    for section in make_sections(sweep.contents):
        blocks += [wr.H2(section.title), wr.P(section.words), _make_grid(sweep, section)]
    return wr.Report(
        entity=sweep.entity, project=sweep.project, title=_title(sweep), blocks=blocks, width="fluid"
    )


def _make_grid(sweep: TrackedSweep, section: Section) -> Any:
    import wandb_workspaces.reports.v2.interface as wr

    runs = wr.Runset(
        entity=sweep.entity,
        project=sweep.project,
        name=sweep.name,
        filters=sweep.filters,
        run_settings={name: wr.RunSettings(color=color) for name, color in sweep.colors.items()},
    )
    return wr.PanelGrid(runsets=[runs], panels=section.panels)


def to_spec(workspace: Any) -> dict[str, Any]:
    """Return a workspace as the JSON that the server accepts."""
    return workspace._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)


def write_dashboard(sweep: TrackedSweep) -> Written:
    """Write the workspace and the report to the server. They replace those that were written before.

    Raises:
        LoraJaxError: wandb-workspaces is missing, nobody is logged in, the server cannot be reached or
            refuses, or it has no such project.
    """
    _require()
    path = sweep.folder / "wandb" / "dashboard.json"
    before = _read_written(path) if path.is_file() else Written()
    try:
        import wandb

        # Unless it is silent from the start, wandb asks a terminal for a key and waits for ever.
        wandb.setup(settings=wandb.Settings(silent=True))
        account = wandb.Api(timeout=CONNECT_SECONDS)
        written = _save(replace(sweep, entity=sweep.entity or account.default_entity or ""), before)
    except failures() as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise LoraJaxError(
            f"The dashboard was not written to wandb's server ({reason}): log in with `wandb login`, send"
            f" offline runs with `wandb sync {sweep.folder}/wandb/offline-run-*`, then run this again;"
            " --check needs no server."
        ) from error
    write_atomically(path, to_sealed_json(to_document(written)))
    return written


def _read_written(path: Path) -> Written:
    remedy = "delete it, and a new workspace and report are written"
    document = read_object(path, remedy)
    with reading(path, remedy):
        return from_document(Written, document)


def _save(sweep: TrackedSweep, before: Written) -> Written:
    report, workspace = make_report(sweep), make_workspace(sweep)
    report.id = before.report_id
    workspace._internal_name, workspace._internal_id = before.view_name, before.view_id
    report.save()  # this comes first, because it shows whether the project exists
    workspace.save()
    return Written(
        workspace._internal_name, workspace._internal_id, report.id, str(workspace.url), str(report.url)
    )


def _title(sweep: TrackedSweep) -> str:
    return f"lora-jax: {sweep.name}"[:LONGEST_TITLE]


def _require() -> None:
    """Import wandb-workspaces, or say how it is installed."""
    try:
        importlib.import_module("wandb_workspaces.workspaces")
    except ImportError as error:
        raise LoraJaxError(f"A dashboard needs the package wandb-workspaces ({error}): {INSTALL}.") from error
