"""What a comparison is against: the same loss, or none."""

import pytest

from benchmarks.rivals import check_losses, require_torch
from lora_jax.errors import LoraJaxError


def test_other_losses_are_no_comparison() -> None:
    check_losses("a model", [5.0, 4.0], [5.00004, 9.0], "cpu")
    check_losses("a model", [5.0], [5.04], "gpu")
    for theirs in (5.0001, float("nan")):
        with pytest.raises(LoraJaxError, match="at the same weights our loss is 5"):
            check_losses("a model", [5.0], [theirs], "cpu")


def test_torch_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.rivals.is_here", lambda package: package == "torch")
    with pytest.raises(LoraJaxError, match=r"transformers, peft is not installed.*bench --torch"):
        require_torch()
