"""What the laboratory finds, as the documents that it writes: for tests of what is in them."""

from typing import Any

from lora_jax.scaling import one_law, sweep
from lora_jax.scaling.documents import fit_to_document, sweep_to_document


def fit_law(*arguments: Any, **options: Any) -> dict[str, Any]:
    """Return the content of fit.json of `one_law.fit_law`."""
    return fit_to_document(one_law.fit_law(*arguments, **options))


def fit_sweep(*arguments: Any, **options: Any) -> dict[str, Any]:
    """Return the content of fits.json of `sweep.fit_sweep`."""
    return sweep_to_document(sweep.fit_sweep(*arguments, **options))
