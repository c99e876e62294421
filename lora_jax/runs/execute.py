"""Run a sweep: train what is not finished, and record every run as it ends."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from jax.sharding import Mesh

from lora_jax.config import DataConfig, RunConfig, digest, to_dict
from lora_jax.data import Dataset, prepare
from lora_jax.errors import LoraJaxError
from lora_jax.files import find_cache
from lora_jax.model.declare import count_parameters, flops_per_token
from lora_jax.runs.groups import MOST_LANES, Group, check_lanes, group_by_shape, group_rivals
from lora_jax.runs.models import check_savable, save_model
from lora_jax.runs.plan import PlannedRun
from lora_jax.runs.progress import Progress
from lora_jax.runs.provenance import describe_commit, describe_device, describe_versions
from lora_jax.runs.record import RunRecord
from lora_jax.runs.store import RunStore
from lora_jax.runs.tracker import Tracker
from lora_jax.runs.widths import memory_limit, require_memory, settle_width
from lora_jax.train.mesh import check_mesh
from lora_jax.train.optim import peak_learning_rate, unit_rate
from lora_jax.train.outcome import Outcome, final_train_loss
from lora_jax.train.trunk import Trunk, train_trunks

COOLED = (
    0.5  # share of the peak rate that the last step of a cooled run does not exceed, as in the fits of curves
)
CURVE_POINTS = 200  # rows of a stored curve, each the mean loss of the steps since the row before


def use_compilation_cache() -> None:
    """Keep compiled programs between processes, which halves a short run's time; the user may say where."""
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


def fingerprints(datasets: Mapping[DataConfig, Dataset]) -> dict[str, str]:
    """Return what the tokens of each data configuration were, for the run store to compare with later."""
    return {digest(to_dict(config)): digest(data.describe()) for config, data in datasets.items()}


def run_sweep(
    name: str,
    planned: Sequence[PlannedRun],
    datasets: Mapping[DataConfig, Dataset],
    store: RunStore,
    tracker: Tracker,
    should_stop: Callable[[], bool],
    keep_models: bool = False,
    lanes: int | None = 1,
    halving: bool = False,
    mesh: Mesh | None = None,
) -> list[RunRecord]:
    """Train every planned run that is not finished, and record each as it ends; return the new records.

    keep_models: write each run's final weights to models/RUN_ID of the store's folder (`runs.models`).
    lanes: at most so many trunks of one shape are trained side by side; None: as many as pay (`widths`).
    A sweep that was killed goes on to the same bits in groups of one lane, and within 1e-5 in wider ones.
    halving: of trunks that differ in the optimizer's numbers alone the worse half is ended, twice (`groups`).
    mesh: of devices, over which each run is spread; then one trunk is trained at a time.
    Raises LoraJaxError, before anything is compiled, where memory does not hold the lanes, and `Stopped` soon
    after should_stop() becomes true, with the state saved.
    """
    if mesh is not None:
        lanes = check_spread(planned, mesh, lanes, halving)
    groups = form_groups(planned, lanes, halving)
    if keep_models:
        for item in planned:
            check_savable(item.run, datasets[item.run.data])
    progress = Progress(planned)
    ids = {item.run: item.run_id for item in planned}
    provenance = (describe_device(), describe_versions(), describe_commit())
    records: list[RunRecord] = []

    def keep(outcome: Outcome) -> None:
        dataset = datasets[outcome.run.data]
        record = make_record(name, ids[outcome.run], outcome, dataset, provenance)
        curve = make_curve(outcome, record.flops_exact / record.n_tokens)
        if keep_models and outcome.params is not None:
            save_model(store.folder / "models" / record.run_id, outcome.run, outcome.params, dataset)
        store.write(record, curve)
        tracker.log_run(record, curve)
        progress.finish_run(record.run_id, summarise(record))
        records.append(record)

    with progress.showing():
        for group in groups:
            n_lanes = pick_lanes(group, lanes, datasets, store, progress.say)
            checkpoints = store.folder / "checkpoints"
            trunks = [
                Trunk(
                    tuple(item.run for item in trunk), datasets[trunk[0].run.data],
                    checkpoints / trunk[0].trunk_id, group.rungs,
                )
                for trunk in group.trunks
            ]  # fmt: skip
            train_trunks(
                trunks,
                n_lanes,
                on_outcome=keep,
                on_progress=progress.advance,
                should_stop=should_stop,
                mesh=mesh,
            )
    return records


def check_spread(planned: Sequence[PlannedRun], mesh: Mesh, lanes: int | None, halving: bool) -> int:
    """Refuse a mesh that does not divide a run, and lanes on a mesh; return the lanes, 1."""
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
    planned: Sequence[PlannedRun], lanes: int | None, halving: bool, limit: float | None = None
) -> list[Group]:
    """Group the trunks of a plan, and refuse what cannot be: before anything is compiled, by prediction.

    limit: the device's memory in bytes; None: of the present one.
    """
    if lanes is not None and lanes < 1:
        raise LoraJaxError(f"--lanes is {lanes}, wanted at least 1, which trains one run at a time, or auto.")
    if halving and lanes == 1:
        raise LoraJaxError(
            "--halving compares runs side by side and --lanes is 1, wanted at least 2: leave one of them out."
        )
    groups = group_rivals(planned, lanes or MOST_LANES) if halving else group_by_shape(planned)
    if halving or (lanes or 1) > 1:
        check_lanes(groups, lanes or MOST_LANES, memory_limit() if limit is None else limit)
    return groups


def pick_lanes(
    group: Group,
    lanes: int | None,
    datasets: Mapping[DataConfig, Dataset],
    store: RunStore,
    say: Callable[[str], None],
) -> int:
    """Return how many trunks of a group are trained side by side: as asked, all rivals, or what pays."""
    if lanes is None and not group.rungs:
        return settle_width(group, datasets, store.folder, say)
    n_trunks = len(group.trunks)
    width = min(n_trunks, n_trunks if lanes is None else lanes)
    if width > 1:
        require_memory(group, width, datasets)
        halted = "".join(f"; at step {step} the best {n_kept} go on" for step, n_kept in group.rungs)
        say(f"{group.words}: {width} of {n_trunks} trunks side by side{halted}")
    return width


def make_record(
    sweep: str,
    run_id: str,
    outcome: Outcome,
    dataset: Dataset,
    provenance: tuple[str, dict[str, str], str | None],
) -> RunRecord:
    """Gather what is known about a finished run."""
    run, counts = outcome.run, count_parameters(outcome.run.model)
    n_tokens = run.n_steps * run.tokens_per_step
    heldout = outcome.heldout
    device, versions, commit = provenance
    return RunRecord(
        run_id=run_id,
        sweep=sweep,
        status="halted" if outcome.halted_at is not None else "done" if heldout else "diverged",
        config=to_dict(run),
        data=dataset.describe(),
        seed=run.seed,
        n_params=counts.non_embedding,
        n_params_with_head=counts.with_head,
        n_params_total=counts.total,
        n_tokens=n_tokens,
        unique_tokens=dataset.unique_seen(n_tokens),
        epochs=dataset.epochs(n_tokens),
        flops=6.0 * counts.with_head * n_tokens,
        flops_exact=float(flops_per_token(run.model, run.data.seq_len)) * n_tokens,
        train_loss=final_train_loss(outcome.losses) if heldout else None,
        heldout_loss=heldout.loss if heldout else None,
        heldout_loss_se=heldout.standard_error if heldout else None,
        bits_per_byte=heldout.loss / math.log(2) / dataset.bytes_per_token if heldout else None,
        cooled=is_cooled(run),  # of a trunk's own, uncooled losses only the curves tell
        learning_rate=peak_learning_rate(run),
        n_steps=run.n_steps,
        diverged_at=outcome.diverged_at,
        wall_seconds=outcome.wall_seconds,
        trained_tokens=outcome.trained_tokens,
        tokens_per_second=outcome.tokens_per_second,
        device=device,
        versions=versions,
        git_commit=commit,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        lanes=outcome.n_lanes,
        halted_at=outcome.halted_at,
    )


def is_cooled(run: RunConfig) -> bool:
    """Did the learning rate come down before the end: is that of the last step at most half the peak?"""
    return unit_rate(run, run.n_steps - 1) <= COOLED


def make_curve(outcome: Outcome, flops_per_token: float) -> list[dict[str, float]]:
    """Thin a loss curve to at most CURVE_POINTS rows, each a mean over the steps since the row before.

    A diverged run's curve ends at its last finite loss.
    """
    run, peak = outcome.run, peak_learning_rate(outcome.run)
    losses = outcome.losses[: outcome.diverged_at]  # what came after is no number
    n = len(losses)
    stride = max(1, math.ceil(n / CURVE_POINTS))
    rows = []
    for start in range(0, n, stride):
        stop = min(start + stride, n)
        tokens = stop * run.tokens_per_step
        rows.append(
            {
                "step": stop,
                "n_tokens": tokens,
                "flops": tokens * flops_per_token,
                "loss": round(float(losses[start:stop].mean(dtype="float64")), 6),
                "learning_rate": round(peak * unit_rate(run, stop - 1), 9),
            }
        )
    return rows


def summarise(record: RunRecord) -> str:
    """One line about a finished run."""
    size = f"N {record.n_params:,}  D {record.n_tokens:,}  seed {record.seed}"
    if record.status == "halted":
        return f"{size}  halted at step {record.halted_at}: others were better; left out of the fits"
    if record.heldout_loss is None:
        return f"{size}  DIVERGED at step {record.diverged_at}: recorded, and left out of the fits"
    speed = f"  {record.tokens_per_second:,.0f} tokens/s" if record.tokens_per_second else ""
    speed += f" in 1 of {record.lanes} lanes" if speed and record.lanes > 1 else ""
    return (
        f"{size}  held-out {record.heldout_loss:.4f} nats/token  {record.bits_per_byte:.3f} bits/byte{speed}"
    )
