"""`lora-jax laws`: every law is listed with its formula."""

from lora_jax.scaling.laws import LAWS
from tests.commands.conftest import Run


def test_every_law_is_listed(run: Run) -> None:
    out = run("laws")[1]
    for name in (*LAWS, "power", "approach-1", "approach-2", "quantile(SHARE)", "--bound", "--by"):
        assert name in out
