"""Runs in grids: which of them differ in the learning rate alone, which in size, and which in something else.

A size is its width, depth, batch and tokens. Runs that also differ in a word (the parametrisation, the
schedule) are separate series. A number that has one value for each size, such as the heads of each width,
follows the size. Any other number that differs makes separate series as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lora_jax.errors import LoraJaxError

AXES = {
    "width": "model.d_model",
    "depth": "model.n_layers",
    "batch": "optim.batch_size",
    "tokens": "n_tokens",
}  # of our own runs; a table without widths and depths has "N"
KIND, PARAMETRISATION = "optim.optimizer.kind", "model.parametrisation"
DEFAULTS = {
    KIND: "adamw",
    PARAMETRISATION: "standard",
}  # what a configuration means that does not write it down
DEFAULT = "default"  # a setting that a run's configuration does not write down
Size = tuple[float, ...]


@dataclass(frozen=True)
class RateRun:
    """A run of a sweep of learning rates.

    Attributes:
        name: What messages call it.
        rate: Its learning rate, as the user sets it.
        loss: Its loss. None if it diverged, or if it has not been trained yet.
        diverged: Whether it diverged.
        sizes: Its size by axis.
        settings: Every other setting, as text.
        seed: Its seed.
        n_params: N, without embeddings if we trained the model. None if it is not known.
    """

    name: str
    rate: float
    loss: float | None
    diverged: bool
    sizes: Mapping[str, float]
    settings: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    n_params: float | None = None


@dataclass(frozen=True)
class RunSeries:
    """Runs that differ in size, rate and seed alone, in grids by size.

    Attributes:
        label: What sets it apart from the others.
        settings: Every setting that differs between the series.
        follows: Settings that have one value for each size.
        shared: The settings that all its runs share.
    """

    label: str
    settings: Mapping[str, str]
    follows: tuple[str, ...]
    shared: Mapping[str, str]
    grids: tuple[tuple[RateRun, ...], ...]


def size_of(run: RateRun) -> Size:
    """Return the size of a run, in the order of its axes."""
    return tuple(run.sizes.values())


def sort_runs(runs: Sequence[RateRun], source: str) -> tuple[RunSeries, ...]:
    """Sort runs into series, and these into grids.

    Args:
        runs: All with the same axes.
        source: What messages call the runs together.

    Raises:
        LoraJaxError: The runs have one rate, or another setting changes together with the rate.
    """
    if len({run.rate for run in runs}) < 2:
        raise LoraJaxError(
            f"{source} has one learning rate, {runs[0].rate:g}: give each size at least 4, as by"
            ' over("optim.learning_rate", [1e-3, 2e-3, 4e-3, 8e-3, 16e-3]).'
        )
    names = sorted({name for run in runs for name in run.settings})
    differing = [n for n in names if len({setting(run, n) for run in runs}) > 1]
    words = [n for n in differing if not all(is_number(setting(run, n)) for run in runs)]
    parts = []
    for part in _split(runs, words):
        numbers = [n for n in differing if n not in words and len({setting(run, n) for run in part}) > 1]
        follows = [n for n in numbers if _follows_size(part, n)]
        rest = [n for n in numbers if n not in follows]
        _refuse_tied(part, rest, source)
        parts += [(series, tuple(follows)) for series in _split(part, rest)]
    apart = [n for n in differing if not any(n in follows for _, follows in parts)]
    found = (_make_series(series, follows, apart, parts) for series, follows in parts)
    return tuple(sorted(found, key=lambda series: (not series.label.startswith("standard"), series.label)))


def setting(run: RateRun, name: str) -> str:
    """Return the value of a setting, as text."""
    return run.settings.get(name, DEFAULT)


def is_number(text: str) -> bool:
    """Return whether a setting is a number, or null where a number may stand."""
    try:
        float(text)
    except ValueError:
        return text in ("null", DEFAULT)
    return True


def _split(runs: Sequence[RateRun], names: Sequence[str]) -> list[list[RateRun]]:
    """Return the runs in groups that agree in these settings, in the order in which they come."""
    groups: dict[tuple[str, ...], list[RateRun]] = {}
    for run in runs:
        groups.setdefault(tuple(setting(run, name) for name in names), []).append(run)
    return list(groups.values())


def _follows_size(runs: Sequence[RateRun], name: str) -> bool:
    values: dict[Size, set[str]] = {}
    for run in runs:
        values.setdefault(size_of(run), set()).add(setting(run, name))
    return all(len(found) == 1 for found in values.values())


def _refuse_tied(runs: Sequence[RateRun], names: Sequence[str], source: str) -> None:
    """Refuse a setting that has another value at each rate of a size: nothing tells the two apart."""
    for name in names:
        rates: dict[tuple[Size, str], set[float]] = {}
        for run in runs:
            rates.setdefault((size_of(run), setting(run, name)), set()).add(run.rate)
        if max(map(len, rates.values())) == 1:
            raise LoraJaxError(
                f"{source} changes {name} whenever it changes the learning rate, so nothing tells the two"
                f" apart: give all rates of a size the same {name}, or cross them with product()."
            )


def _make_series(
    runs: Sequence[RateRun],
    follows: tuple[str, ...],
    apart: Sequence[str],
    parts: Sequence[tuple[list[RateRun], tuple[str, ...]]],
) -> RunSeries:
    grids: dict[Size, list[RateRun]] = {}
    for run in sorted(runs, key=lambda run: (size_of(run), run.rate, run.seed)):
        grids.setdefault(size_of(run), []).append(run)
    settings = {name: setting(runs[0], name) for name in apart}
    shared = {n: v for n, v in runs[0].settings.items() if all(setting(run, n) == v for run in runs)}
    others = [series[0] for series, _ in parts]
    return RunSeries(
        _label(settings, others), settings, follows, shared, tuple(tuple(grid) for grid in grids.values())
    )


def _label(settings: Mapping[str, str], others: Sequence[RateRun]) -> str:
    """Return the fewest settings, the parametrisation first, that tell a series from the others."""
    told: list[str] = []
    for name in sorted(settings, key=lambda name: (not name.endswith("parametrisation"), name)):
        alike = [run for run in others if all(setting(run, n) == settings[n] for n in told)]
        if len(alike) < 2:
            break
        if len({setting(run, name) for run in alike}) > 1:
            told.append(name)
    return ", ".join(say_setting(name, settings[name]) for name in told) or "all runs"


def say_setting(name: str, value: str) -> str:
    """Return a setting in words, such as "muon" or "batch_size 16"."""
    if value == DEFAULT and name in DEFAULTS:
        return DEFAULTS[name]
    short = name.rpartition(".")[2]
    return f"{short} {value}" if is_number(value) else value
