"""Run a sweep: train what is not finished, and record every run as it ends."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jax.sharding import Mesh

from lora_jax.config import DataConfig, RunConfig, digest, to_dict, trunk_id
from lora_jax.data import Dataset, prepare
from lora_jax.data.cache import explain_disk_errors
from lora_jax.data.corpora import needs_download
from lora_jax.errors import LoraJaxError
from lora_jax.files import find_cache
from lora_jax.runs.groups import MOST_LANES, Group, check_lanes, check_memory, group_by_shape, group_rivals
from lora_jax.runs.jobs import follow_out, hand_out
from lora_jax.runs.lane_count import memory_limit, require_memory, settle_lane_count
from lora_jax.runs.models import check_savable, save_model
from lora_jax.runs.plan import PlannedRun
from lora_jax.runs.pretraining import describe_planned, find_facts
from lora_jax.runs.progress import Progress
from lora_jax.runs.record import RunRecord
from lora_jax.runs.recording import Recorder
from lora_jax.runs.rounds import Rounds
from lora_jax.runs.store import RunStore
from lora_jax.runs.tracking import Tracking
from lora_jax.runs.watching import watched
from lora_jax.training.measuring import DEFAULT as EIGHT_POINTS
from lora_jax.training.measuring import Measuring
from lora_jax.training.mesh import check_mesh
from lora_jax.training.processes import call_in_turn, whole
from lora_jax.training.result import PretrainResult
from lora_jax.training.rows import Watching
from lora_jax.training.saving import DEFAULT, Saving
from lora_jax.training.trunk import Trunk, train_trunks


def use_compilation_cache() -> None:
    """Keep compiled programs between processes. This halves the time of a short run.

    If the user has set JAX's own cache folder, we leave it as it is.
    """
    import jax

    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(find_cache() / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def prepare_data(runs: Sequence[RunConfig], say: Callable[[str], None]) -> dict[DataConfig, Dataset]:
    """Open each different data configuration once, and check it against every run that uses it."""
    datasets: dict[DataConfig, Dataset] = {}
    for run in runs:
        if run.data not in datasets:
            smallest = min(other.model.vocab_size for other in runs if other.data == run.data)
            datasets[run.data] = prepare(run.data, smallest, on_progress=say)
        datasets[run.data].check(run.n_tokens)
    return datasets


def try_data(runs: Sequence[RunConfig], say: Callable[[str], None]) -> dict[DataConfig, Dataset]:
    """Prepare the data as `prepare_data` does, but download nothing.

    Data that is not on this machine is left out, and a line says so. We still look for sets that would be
    downloaded, so that a wrong name or a missing network is refused.
    """
    here: list[RunConfig] = []
    absent: dict[DataConfig, list[str]] = {}
    for run in runs:
        if run.data not in absent:
            sources = (*run.data.sources, *run.data.heldout_sources)
            absent[run.data] = [s.name for s in sources if needs_download(s, find_cache())]
        if not absent[run.data]:
            here.append(run)
    for name in dict.fromkeys(name for names in absent.values() for name in names):
        say(
            f"{name} is not on this machine: the run will download and prepare it, its tokens are not counted"
        )
    return prepare_data(here, say)


def prepare_alone(
    store: RunStore, runs: Sequence[RunConfig], say: Callable[[str], None]
) -> dict[DataConfig, Dataset]:
    """Prepare the data as `prepare_data` does, one process at a time for each cache that processes share."""
    cache = find_cache()
    with explain_disk_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
    # Machines that share a folder see the same inode number. Other machines hardly ever do.
    shared = f"preparing-{cache.stat().st_ino}"

    def prepare_one() -> dict[DataConfig, Dataset]:
        with store.alone(shared, say):
            return prepare_data(runs, say)

    return call_in_turn(shared, prepare_one)


def fingerprints(datasets: Mapping[DataConfig, Dataset]) -> dict[str, str]:
    """Return a fingerprint of the tokens of each data configuration. The run store compares it later."""
    return {digest(to_dict(config)): digest(data.describe()) for config, data in datasets.items()}


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """How a sweep is trained. None of it is part of a run's identity.

    Attributes:
        keep_models: Whether to write each run's final weights to models/RUN_ID in the results folder.
        lanes: Largest number of trunks of one shape that train together. None measures how many pay
            (`lane_count`).
        halving: Whether to stop the worse half of the trunks that differ only in the optimizer's numbers,
            twice (`groups`).
        mesh: Devices to spread each run over. Trunks then train one after another.
        saving: When states are saved, and which are kept.
        measuring: When held-out losses are measured during training.
    """

    keep_models: bool = False
    lanes: int | None = 1
    halving: bool = False
    mesh: Mesh | None = None
    saving: Saving = DEFAULT
    measuring: Measuring = EIGHT_POINTS


def run_sweep(
    name: str,
    planned: Sequence[PlannedRun],
    datasets: Mapping[DataConfig, Dataset],
    store: RunStore,
    tracker: Tracking,
    should_stop: Callable[[], bool],
    settings: SweepSettings = SweepSettings(),
) -> list[RunRecord]:
    """Train every planned run that is not finished, and record each as it ends.

    If a sweep was killed, it resumes from its checkpoints. Runs that train alone resume to the same bits.
    Runs that train together agree within 1e-5.

    Args:
        name: Name of the sweep.
        planned: The runs, with their cost.
        datasets: The prepared text of each data configuration.
        store: The results folder.
        tracker: Where progress is logged.
        should_stop: Training stops soon after this returns True.
        settings: How they are trained.

    Returns:
        The new records.

    Raises:
        LoraJaxError: Memory does not hold the lanes. This is found before anything is compiled.
        Stopped: `should_stop` returned True. The state is saved.
    """
    lanes, halving, mesh = settings.lanes, settings.halving, settings.mesh
    if mesh is not None:
        lanes = check_spread(planned, mesh, lanes, halving)
    groups = form_groups(planned, lanes, halving, n_devices=1 if mesh is None else mesh.size)
    if settings.keep_models:
        for item in planned:
            check_savable(item.run, datasets[item.run.data])
    progress = Progress(planned)
    ids = {item.run: item.run_id for item in planned}
    recorder = Recorder(name, store, tracker)
    tracker.announce({item.run_id: describe_planned(item) for item in planned})
    records: list[RunRecord] = []

    def keep(result: PretrainResult) -> None:
        dataset, run_id = datasets[result.run.data], ids[result.run]
        if settings.keep_models and result.weights is not None:
            save_model(store.folder / "models" / run_id, result.run, whole(result.weights), dataset)
        records.append(recorder.write(run_id, result, find_facts(result, dataset), progress))

    with watched(store.folder, planned, progress, tracker, settings.measuring) as watching:
        rounds = Rounds(
            store.crew,
            list(ids.values()),
            lambda run_id: store.is_settled(run_id, halving),
            progress,
            should_stop,
        )
        for turn, group, held in hand_out(groups, rounds):
            n_lanes = pick_lanes(group, lanes, datasets, store, progress.say)
            if not group.rungs:  # rivals must stay together
                n_lanes = min(n_lanes, turn.share(group.trunks))
            trunks = (
                Trunk(
                    runs,
                    datasets[runs[0].data],
                    _state_folder(store, runs[0]),
                    group.rungs,
                    progress.say,
                    settings.saving,
                    guard,
                )
                for runs, guard in held
            )
            train_trunks(
                trunks, n_lanes, on_result=keep, should_stop=should_stop, watching=watching, mesh=mesh
            )
    return records


def follow_sweep(
    runs: Mapping[str, RunConfig],
    datasets: Mapping[DataConfig, Dataset],
    store: RunStore,
    settings: SweepSettings,
) -> None:
    """Train what the first process of a computation trains with `run_sweep`, until it ends.

    Args:
        runs: The runs of the sweep by their ids.
        datasets: The prepared text of each data configuration.
        store: The results folder. This process writes only its own parts of the states there.
        settings: How they are trained, as in the first process.

    Raises:
        LeaderEnded: The first process has ended.
        Stopped: The computation was asked to stop. The state is saved.
    """

    def keep(result: PretrainResult) -> None:
        if settings.keep_models and result.weights is not None:
            whole(result.weights)  # the first process needs all parts to save the model

    for held in follow_out(runs):
        trunks = (
            Trunk(
                runs,
                datasets[runs[0].data],
                _state_folder(store, runs[0]),
                saving=settings.saving,
                guard=guard,
            )
            for runs, guard in held
        )
        train_trunks(
            trunks,
            1,
            on_result=keep,
            should_stop=lambda: False,
            watching=Watching(measuring=settings.measuring),
            mesh=settings.mesh,
        )


def _state_folder(store: RunStore, run: RunConfig) -> Path:
    return store.folder / "checkpoints" / trunk_id(run)


def check_spread(planned: Sequence[PlannedRun], mesh: Mesh, lanes: int | None, halving: bool) -> int:
    """Refuse a mesh that does not divide a run, and lanes on a mesh.

    Returns:
        The number of lanes, which is 1.

    Raises:
        LoraJaxError: The mesh does not fit, or lanes or halving are asked for as well.
    """
    if halving or (lanes or 1) > 1:
        asked = "--halving" if halving else f"--lanes {lanes}"
        raise LoraJaxError(
            f"--mesh spreads each run over {mesh.size} devices and {asked} trains several side by side: leave"
            " one of them out."
        )
    for item in planned:
        check_mesh(mesh, item.run)
    return 1


def form_groups(
    planned: Sequence[PlannedRun],
    lanes: int | None,
    halving: bool,
    limit: float | None = None,
    n_devices: int = 1,
) -> list[Group]:
    """Group the trunks of a plan. Refuse what cannot work, by prediction, before anything is compiled.

    Args:
        planned: The runs, with their cost.
        lanes: Largest number of trunks that train together. None takes as many as there are.
        halving: Whether trunks are grouped with their rivals.
        limit: The device's memory in bytes. By default that of the present one.
        n_devices: Number of devices that share each run.

    Raises:
        LoraJaxError: The options contradict each other, or memory does not hold the runs.
    """
    if lanes is not None and lanes < 1:
        raise LoraJaxError(
            f"--lanes is {lanes}, but it must be auto or at least 1, which trains one run at a time."
        )
    if halving and lanes == 1:
        raise LoraJaxError(
            "--halving compares runs side by side and --lanes is 1, but it must be at least 2: leave one of"
            " them out."
        )
    groups = group_rivals(planned, lanes or MOST_LANES) if halving else group_by_shape(planned)
    limit = memory_limit() if limit is None else limit
    if halving or (lanes or 1) > 1:
        check_lanes(groups, lanes or MOST_LANES, limit)
    check_memory(planned, n_devices * limit)
    return groups


def pick_lanes(
    group: Group,
    lanes: int | None,
    datasets: Mapping[DataConfig, Dataset],
    store: RunStore,
    say: Callable[[str], None],
) -> int:
    """Return how many trunks of a group train side by side: as asked, all rivals, or as many as pay."""
    if lanes is None and not group.rungs:
        with store.alone(f"measuring-{digest(to_dict(group.shape))}", say):
            return settle_lane_count(group, datasets, store.folder, say)
    n_trunks = len(group.trunks)
    n_lanes = min(n_trunks, n_trunks if lanes is None else lanes)
    if n_lanes > 1:
        require_memory(group, n_lanes, datasets)
        halted = "".join(f"; at step {step} the best {n_kept} go on" for step, n_kept in group.rungs)
        say(f"{group.description}: {n_lanes} of {n_trunks} trunks side by side{halted}")
    return n_lanes
