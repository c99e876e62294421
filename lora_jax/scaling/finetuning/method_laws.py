"""A form fitted to all methods, and what it predicts for cells that it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.comparing.extrapolation import Found, search
from lora_jax.scaling.finetuning.forms import Form
from lora_jax.scaling.finetuning.methods import MethodRuns
from lora_jax.scaling.fitting.certificate import Certificate
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.intervals.uncertainty import interval
from lora_jax.scaling.joint.group_laws import GroupLaw, HowToFit, law_alone, laws_of_joint, pose_together
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.tables.cells import UNSEEDED, SeedNoise
from lora_jax.scaling.tables.run_table import RunTable


@dataclass(frozen=True)
class FittedLaw:
    """The law of a method, and the certificate of its fit. Methods that share parameters have one fit."""

    law: GroupLaw
    certificate: Certificate


def how_to_fit(form: Form, n_bootstrap: int, seed: int) -> HowToFit:
    """Return how a form is fitted to the methods: by least squares of ln residuals."""
    return HowToFit(form.law, shared=form.shared, n_bootstrap=n_bootstrap, seed=seed)


def fit_methods(form: Form, methods: Sequence[MethodRuns], n_bootstrap: int, seed: int) -> list[FittedLaw]:
    """Return the law of each method by a form, with replicates and a certificate.

    Raises:
        LoraJaxError: The cells are too few.
    """
    how = how_to_fit(form, n_bootstrap, seed)
    if form.shared:
        law, joined = pose_together([method.cells for method in methods], how)
        found = fit(law, joined, how.goal)
        return [FittedLaw(one, found.certificate) for one in laws_of_joint(found, how, pool_noise(methods))]
    laws = []
    for stream, method in enumerate(methods):
        found = fit(form.law, method.cells, how.goal)
        laws.append(FittedLaw(law_alone(found, how, method.noise_of_cells, stream), found.certificate))
    return laws


def fit_quickly(
    form: Form, methods: Sequence[MethodRuns], rows: Sequence[np.ndarray], n_bootstrap: int, seed: int
) -> list[GroupLaw]:
    """Return the law of each method on some rows of its cells, without a certificate.

    Raises:
        LoraJaxError: The cells are too few, or do not determine the law.
    """
    how, found = how_to_fit(form, n_bootstrap, seed), _search(form, methods, rows)
    if form.shared:
        return laws_of_joint(found[0], how, pool_noise(methods))
    return [
        law_alone(answer, how, method.noise_of_cells, stream)
        for stream, (method, answer) in enumerate(zip(methods, found, strict=True))
    ]


def residuals_of(form: Form, methods: Sequence[MethodRuns], rows: Sequence[np.ndarray]) -> Array:
    """Return ln measured less ln fitted for these rows of the methods' cells.

    It raises as `fit_quickly` does.
    """
    return np.concatenate([answer.residuals for answer in _search(form, methods, rows)])


def _search(form: Form, methods: Sequence[MethodRuns], rows: Sequence[np.ndarray]) -> list[Found]:
    """Return the answer of each method, or the one of all where they share parameters."""
    tables = [method.cells.take(some) for method, some in zip(methods, rows, strict=True)]
    for method, table in zip(methods, tables, strict=True):
        if len(table) < len(form.law.names):
            raise LoraJaxError(f"{method.name} has {len(table)} cells for {len(form.law.names)} parameters")
    how = how_to_fit(form, 1, 0)
    if form.shared:
        law, joined = pose_together(tables, how)
        return [search(law, joined, how.goal)]
    return [search(form.law, table, how.goal) for table in tables]


def pool_noise(methods: Sequence[MethodRuns]) -> SeedNoise:
    """Return the noise of a cell, pooled over the methods that have seeds."""
    known = [method.noise_of_cells for method in methods if method.noise.sd is not None]
    freedom = sum(noise.degrees_of_freedom for noise in known)
    if not freedom:
        return UNSEEDED
    squares = sum((noise.sd or 0.0) ** 2 * noise.degrees_of_freedom for noise in known)
    return SeedNoise(float(np.sqrt(squares / freedom)), sum(noise.n_cells for noise in known), freedom)


def log_fitted(law: GroupLaw, table: RunTable) -> Array:
    """Return ln L of each row by the law, (n,)."""
    known = law.problem.law
    features = law.problem.features_at({v: table.variable(v) for v in known.variables})
    return known.log_loss(law.theta, features)


def predict_cells(law: GroupLaw, table: RunTable, seed: int) -> list[tuple[float, tuple[float, float]]]:
    """Return ln L of each row by the law.

    Each has the 95 % interval of the mean of a cell that is measured there.
    """
    known, rng = law.problem.law, np.random.default_rng((seed, 5))
    found = []
    for i, value in enumerate(log_fitted(law, table)):
        at = {v: float(table.variable(v)[i]) for v in known.variables}
        samples = known.log_loss(law.samples, law.problem.features_at(at))[:, 0] + law.misfit_at(at, seed)
        samples = samples + law.noise * rng.standard_normal(len(samples))
        found.append((float(value), interval(float(value), samples).interval))
    return found
