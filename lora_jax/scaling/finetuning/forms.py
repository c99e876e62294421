"""The forms that a law of fine-tuning may have: multiplicative, additive or rectified."""

from collections.abc import Sequence
from dataclasses import dataclass

from lora_jax.scaling.laws.finetuning import additive, multiplicative, one_power
from lora_jax.scaling.laws.law import Law
from lora_jax.scaling.laws.rectified import RECTIFIED

FIRST = "multiplicative"


@dataclass(frozen=True)
class Form:
    """A form of the law for all methods.

    Attributes:
        name: What the report calls it.
        law: The law of one method.
        shared: Parameters that all methods share.
        each: The letter of X, if every X has a law in F of its own. Such a form says nothing about other X.
    """

    name: str
    law: Law
    shared: tuple[str, ...] = ()
    each: str | None = None


def forms_for(variables: Sequence[str], n_methods: int) -> list[Form]:
    """Return the forms of a law of these variables, the law as published first.

    Args:
        variables: X and "F", or the one of them that varies.
        n_methods: Of one method alone nothing is shared.
    """
    if len(variables) == 1:
        (v,) = variables
        law, shares = one_power(v), (("E",), ("E", "beta" if v == "F" else "alpha"))
        forms = [Form("power", law)]
        if n_methods > 1:
            forms += [Form(f"power, {' and '.join(names)} shared", law, names) for names in shares]
        return [*forms, Form("rectified", RECTIFIED)] if v == "F" else forms
    x = variables[0]
    law, sum_law = multiplicative(x), additive(x)
    forms = [Form(FIRST, law), Form("additive", sum_law)]
    if n_methods > 1:
        forms += [
            Form(f"{FIRST}, E shared", law, ("E",)),
            Form(f"{FIRST}, beta and E shared", law, ("beta", "E")),
            Form("additive, E shared", sum_law, ("E",)),
        ]
    return [*forms, Form(f"rectified at each {x}", RECTIFIED, each=x)]
