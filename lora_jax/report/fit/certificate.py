"""The certificate of a fit as pairs of words: on the page of one law, and of each law of a sweep."""

from collections.abc import Sequence

from lora_jax.report.kit.numbers import format_power
from lora_jax.scaling.results import FitReport


def certificate_pairs(report: FitReport) -> list[tuple[str, str]]:
    """Return what was checked and what came out, each in words, less what an older sweep did not say.

    The verdict stands above it on every page.
    """
    c = report.certificate
    pairs: list[tuple[str, str | None]] = [
        ("converged", _yes(c.converged)),
        ("largest entry of the gradient", format_power(c.grad_norm, 2)),
        ("objective above the minimum, as a share of it", format_power(c.polish_gain, 2)),
        ("minima within 1 % of the best", None if c.n_minima is None else str(c.n_minima)),
        ("condition number", format_power(c.condition_number)),
        ("parameters at a bound", _listed(c.at_bound)),
        ("weakly identified", _listed(c.weakly_identified)),
        ("the answer is where it started", _yes(c.start_equals_answer)),
    ]
    for moved, title in ((c.influence, "most influential row"), (c.outliers, "outlying rows")):
        if moved is None:
            pairs.append((title, None if c.n_minima is None else "none"))
            continue
        shift = f"without, {moved.exponent} moves by {moved.shift:+.4f}"
        pairs.append((title, f"{', '.join(moved.run_ids)}: {shift}"))
    return [(name, said) for name, said in pairs if said is not None]


def _yes(answer: bool | None) -> str | None:
    return None if answer is None else "yes" if answer else "no"


def _listed(names: Sequence[str] | None) -> str | None:
    return None if names is None else ", ".join(names) or "none"
