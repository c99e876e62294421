"""Fine-tuning: L = A X^-alpha D_f^-beta + E (Zhang et al. 2402.17193, equation 1).

X is the model's size, its pretraining tokens, or the parameters that a method trains.
"""

import numpy as np

from lora_jax.scaling.laws.law import Array, coefficient, irreducible
from lora_jax.scaling.laws.power_sum import PowerSum, Term, power_sum

FACTORS = {"N": "model size", "D": "pretraining tokens", "P": "trainable parameters"}


def multiplicative(variable: str) -> PowerSum:
    """Make the law L = E + A X^-alpha F^-beta.

    Args:
        variable: X: "N" parameters, "D" pretraining tokens, or "P" trainable parameters. F is fine-tuning
            tokens or examples.

    Reference: Zhang et al. 2024 (arXiv 2402.17193), equation 1.
    """
    return power_sum(
        f"L({variable},F)",
        f"fine-tuning by {FACTORS[variable]}",
        f"L = E + A {variable}^-alpha F^-beta",
        "2402.17193, equation 1",
        [
            Term(irreducible("E")),
            Term(
                coefficient("A", **{variable: "alpha", "F": "beta"}),
                ((variable, "alpha"), ("F", "beta")),
            ),
        ],
    )


def additive(variable: str) -> PowerSum:
    """Make the law L = E + A X^-alpha + B F^-beta, which predicted less well than the product in the source.

    Args:
        variable: X: "N", "D" or "P", as for `multiplicative`.

    Reference: Zhang et al. 2024 (arXiv 2402.17193), section 4.
    """
    return power_sum(
        f"L({variable}+F)",
        f"fine-tuning by {FACTORS[variable]}, additive",
        f"L = E + A {variable}^-alpha + B F^-beta",
        "2402.17193, section 4",
        [
            Term(irreducible("E")),
            Term(coefficient("A", **{variable: "alpha"}), ((variable, "alpha"),)),
            Term(coefficient("B", F="beta"), (("F", "beta"),)),
        ],
    )


def one_power(variable: str) -> PowerSum:
    """Make the law L = E + A X^-alpha of runs in which one variable alone varies.

    Args:
        variable: X: "N", "D", "P" or "F". The exponent of F is called beta.
    """
    e = "beta" if variable == "F" else "alpha"
    return power_sum(
        f"L({variable}) of fine-tuning",
        "fine-tuning by " + ("examples" if variable == "F" else FACTORS[variable]),
        f"L = E + A {variable}^-{e}",
        "2402.17193, equation 1",
        [Term(irreducible("E")), Term(coefficient("A", **{variable: e}), ((variable, e),))],
    )


LAWS = {f"finetuning-{x.lower()}": multiplicative(x) for x in FACTORS}


def crossover(first: dict[str, Array], second: dict[str, Array]) -> dict[str, Array]:
    """Return H and gamma of the set size F_c = H X^gamma at which two methods have the same loss.

    H = (A1 / A2)^(1 / (beta1 - beta2)) and gamma = (alpha2 - alpha1) / (beta1 - beta2). Both laws must share
    E. From F_c on, the method with the larger beta is the better one.

    Args:
        first: A, alpha and beta of one method. The values may have any common shape, such as (B,) of
            bootstrap replicates.
        second: The same of the other method.

    Reference: Zhang et al. 2024 (arXiv 2402.17193), section 5.
    """
    gap = first["beta"] - second["beta"]
    return {
        "H": np.exp((np.log(first["A"]) - np.log(second["A"])) / gap),
        "gamma": (second["alpha"] - first["alpha"]) / gap,
    }
