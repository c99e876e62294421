"""lm-evaluation-harness that is not installed; beside it, the comparison is tests/parity/test_harness.py."""

import importlib
import sys

import pytest

from lora_jax.errors import LoraJaxError


def test_without_the_harness_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)  # an import of it then fails
    monkeypatch.delitem(sys.modules, "lora_jax.prompting.harness", raising=False)
    with pytest.raises(LoraJaxError, match=r"pip install 'lora-jax\[harness\]'") as found:
        importlib.import_module("lora_jax.prompting.harness")
    assert "\n" not in str(found.value)
