"""What the laboratory finds, as the documents that it writes: for tests of what is in them."""

from typing import Any

from lora_jax.scaling import analysis, laboratory
from lora_jax.scaling.documents import fit_to_document, sweep_to_document


def examine(*arguments: Any, **options: Any) -> dict[str, Any]:
    """Return the content of fit.json of `laboratory.examine`."""
    return fit_to_document(laboratory.examine(*arguments, **options))


def analyse(*arguments: Any, **options: Any) -> dict[str, Any]:
    """Return the content of fits.json of `analysis.analyse`."""
    return sweep_to_document(analysis.analyse(*arguments, **options))
