"""The published comparisons are those of their records, and these of the committed configs."""

import json
from collections import Counter
from pathlib import Path

import pytest

from lora_jax.finetune.config import finetune_id
from lora_jax.finetune.experiment import load_finetuning
from lora_jax.runs.store import RunStore
from lora_jax.scaling.methods.comparison import compare_methods
from lora_jax.scaling.methods.folder import read_records

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "results" / "published"
FOLDERS = sorted([*PUBLISHED.glob("peft_*"), *PUBLISHED.glob("lora_*")])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_records_are_of_the_config_and_the_comparison_of_the_records(folder: Path) -> None:
    experiment = load_finetuning(ROOT / "configs" / f"{folder.name}.py")
    records = RunStore(folder).finished()  # refuses a record that does not hash to its name
    assert records.keys() <= {finetune_id(run) for run in experiment.sweep.runs()}
    published = json.loads((folder / "comparison.json").read_text())
    again = compare_methods(read_records(folder))
    assert json.loads(json.dumps(again)) == published
    seeds = Counter(record.finetuning["label"] for record in records.values() if record.finetuning)
    n_rates = {label: len(experiment.sweep.rates_of(label)) for label in experiment.sweep.methods}
    assert seeds == {label: n + len(experiment.sweep.seeds) - 1 for label, n in n_rates.items()}
    commits = {record.git_commit for record in records.values()}
    assert len(commits) == 1
    assert not str(commits).count("dirty")


def test_there_are_published_comparisons() -> None:
    assert {folder.name for folder in FOLDERS} == {"lora_targets", "peft_e2e", "peft_sst2"}
