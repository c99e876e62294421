"""Chinchilla's third approach: L = E + A N^-alpha + B D^-beta (Hoffmann et al. 2203.15556, equation 2).

At a budget C = 6ND the least loss is at N* = G (C/6)^a, D* = (C/6)^b / G (equation 4).
"""

import numpy as np

from lora_jax.scaling.laws.law import coefficient, irreducible
from lora_jax.scaling.laws.power_sum import Term, power_sum

CHINCHILLA = power_sum(
    "L(N,D)",
    "Chinchilla, approach 3",
    "L = E + A N^-alpha + B D^-beta",
    "2203.15556",
    [
        Term(irreducible("E")),
        Term(coefficient("A", N="alpha"), (("N", "alpha"),)),
        Term(coefficient("B", D="beta"), (("D", "beta"),)),
    ],
    derived={
        "a": lambda p: p["beta"] / (p["alpha"] + p["beta"]),
        "b": lambda p: p["alpha"] / (p["alpha"] + p["beta"]),
        "G": lambda p: np.exp(
            (np.log(p["alpha"]) + np.log(p["A"]) - np.log(p["beta"]) - np.log(p["B"]))
            / (p["alpha"] + p["beta"])
        ),
    },
    summary=("a", lambda theta: theta["beta"] / (theta["alpha"] + theta["beta"])),
)

LAWS = {"chinchilla": CHINCHILLA}
