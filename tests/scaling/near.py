"""Simulated tables are fitted from the parameters they were made with: the minimum of `fit`, much sooner."""

from collections.abc import Mapping

from lora_jax.scaling.fitting.newton import solve
from lora_jax.scaling.fitting.problem import Answer, pose
from lora_jax.scaling.laws.law import Law
from lora_jax.scaling.tables.run_table import RunTable


def fit_near(law: Law, table: RunTable, truth: Mapping[str, float], objective: str = "huber") -> Answer:
    """Fit a law from one start, its true published parameters.

    `fit` starts from many points and takes seven times as long, to the same minimum (test_near.py). So a
    simulation of many tables, whose truth is known, has the time for more of them.
    """
    problem = pose(law, table, objective)
    start = law.to_theta(truth, problem.centre)
    theta = solve(problem.data, problem.goal, start[None], problem.bounds).theta[0]
    return Answer(problem, theta, problem.value(theta))
