"""Steps and batch as two variables: L = E + A_N N^-alpha + A_S S^-beta + A_B B^-gamma (Schaipp, 2607.01487).

The same tokens can be trained in many small steps or in few large ones. At D = S B tokens the terms of S and
B pull against each other. The loss is least at the batch B* ~ D^(beta / (beta + gamma)).
"""

from lora_jax.scaling.laws.law import coefficient, irreducible
from lora_jax.scaling.laws.power_sum import Term, power_sum

STEPS_BATCH = power_sum(
    "L(N,S,B)",
    "steps and batch",
    "L = E + A_N N^-alpha + A_S S^-beta + A_B B^-gamma",
    "2607.01487, the three-term law; at D = S B tokens the best batch grows as D^batch_power",
    [
        Term(irreducible("E")),
        Term(coefficient("A_N", N="alpha"), (("N", "alpha"),)),
        Term(coefficient("A_S", S="beta"), (("S", "beta"),)),
        Term(coefficient("A_B", B="gamma"), (("B", "gamma"),)),
    ],
    derived={"batch_power": lambda p: p["beta"] / (p["beta"] + p["gamma"])},
    summary=("batch_power", lambda theta: theta["beta"] / (theta["beta"] + theta["gamma"])),
    splits_budgets=False,
)

LAWS = {"steps-batch": STEPS_BATCH}
