"""The published comparisons are those of their records, and these of the committed configs."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from lora_jax.comparison.documents import comparison_to_document, read_comparison
from lora_jax.comparison.folder import read_runs
from lora_jax.comparison.methods import compare_methods
from lora_jax.finetuning.config import finetune_id
from lora_jax.finetuning.experiment import load_finetuning
from lora_jax.runs.store import RunStore
from tests.documents import assert_documents_agree

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "results" / "published"
FOLDERS = sorted([*PUBLISHED.glob("peft_*"), *PUBLISHED.glob("lora_*")])

pytestmark = pytest.mark.committed
TOLERANCE = 1e-10  # relative; another seed, record or formula moves numbers by 1e-3 and more


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_records_are_of_the_config_and_the_comparison_of_the_records(folder: Path) -> None:
    experiment = load_finetuning(ROOT / "configs" / f"{folder.name}.py")
    records = RunStore(folder).finished()  # refuses a record that does not hash to its name
    assert records.keys() <= {finetune_id(run) for run in experiment.sweep.runs()}
    published = read_comparison(folder / "comparison.json")
    again = replace(compare_methods(read_runs(folder)), format=published.format)
    # another processor sums in another order: linear algebra then differs in the last bits, by about 1e-16
    ours, theirs = (json.loads(json.dumps(comparison_to_document(found))) for found in (again, published))
    assert_documents_agree(ours, theirs, rel=TOLERANCE)
    seeds = Counter(record.finetuning["label"] for record in records.values() if record.finetuning)
    n_rates = {label: len(experiment.sweep.rates_of(label)) for label in experiment.sweep.methods}
    assert seeds == {label: n + len(experiment.sweep.seeds) - 1 for label, n in n_rates.items()}
    commits = {record.git_commit for record in records.values()}
    assert len(commits) == 1
    assert not str(commits).count("dirty")


def test_there_are_published_comparisons() -> None:
    assert {folder.name for folder in FOLDERS} == {"lora_targets", "peft_e2e", "peft_sst2"}
