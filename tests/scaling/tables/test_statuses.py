"""A stranger's status column: which words count, which do not, and a way out for every other."""

from pathlib import Path

import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.tables.statuses import NO_STATUS, reason_of
from lora_jax.scaling.tables.table import read_table


def table_of(folder: Path, column: str, words: list[str], more: str = "") -> Path:
    second = more.split(",") if more else []
    lines = [f"run_id,{column},n_params,n_tokens,loss"]
    lines += [
        f"r{i},{word}{',' + second[i] if second else ''},{10 ** (7 + i % 3)},{10 ** (9 + i % 2)},{3 - i / 10}"
        for i, word in enumerate(words)
    ]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    return folder / "t.csv"


DONE = [
    "finished",
    "Finished",
    "completed",
    "COMPLETE",
    "success",
    "succeeded",
    "done",
    "ok",
    "JOB_STATE_SUCCEEDED",
]
NOT_DONE = [
    "failed", "crashed", "Crashed", "killed", "preempted", "running", "pending", "cancelled", "CANCELED",
    "timeout",
    "TIMED OUT", "OOM", "out of memory", "OUT_OF_MEMORY", "diverged", "halted", "in progress", "aborted",
    "queued",
    "NODE_FAIL", "OOMKilled", "Error", "failed (nan loss)", "CANCELLED by 1000", "not finished", "pruned",
    "crashed at step 300", "failed: disk full", "incomplete", "unfinished",
]  # fmt: skip
UNKNOWN = [
    "terminated",
    "stopped",
    "finished with errors",
    "CA",
    "0",
    "1",
    "True",
    "runner up",
    "errorless",
    "notable",
]


@pytest.mark.parametrize(
    "column", ["status", "Status", "State", "state", "run_state", "Run State", "job_status"]
)
def test_every_word_is_judged_in_every_column(tmp_path: Path, column: str) -> None:
    words = [*DONE, *NOT_DONE]
    table = read_table(table_of(tmp_path, column, words))
    assert table.run_ids == tuple(f"r{i}" for i in range(len(DONE)))
    assert [gone.reason.lower() for gone in table.left_out] == [word.lower() for word in NOT_DONE]


@pytest.mark.parametrize("word", UNKNOWN)
def test_an_unknown_word_is_refused_and_has_three_ways_out(tmp_path: Path, word: str) -> None:
    assert reason_of(word) is None
    path = table_of(tmp_path, "State", ["finished", word, "crashed", word])
    with pytest.raises(
        LoraJaxError, match=rf"column 'State', has '{word}' \(2 rows\).*--where.*--map status="
    ):
        read_table(path)
    assert read_table(path, where=["State=finished"]).run_ids == ("r0",)
    assert read_table(path, where=[f"State in finished,{word}"]).run_ids == ("r0", "r1", "r3")
    assert read_table(path, where=[f"State!={word}"]).run_ids == ("r0",)  # the others are judged as ever
    assert len(read_table(path, {"status": ""})) == 4


def test_a_condition_may_ask_for_the_runs_that_failed(tmp_path: Path) -> None:
    path = table_of(tmp_path, "State", ["finished", "crashed", "crashed"])
    assert read_table(path, where=["State=crashed"]).run_ids == ("r1", "r2")
    assert read_table(path, {"status": "State"}, where=["status~^crash"]).run_ids == ("r1", "r2")


def test_a_mapped_column_is_the_status_and_no_other(tmp_path: Path) -> None:
    path = table_of(tmp_path, "outcome,state", ["ok", "failed", "ok"], "CA,NY,TX")
    with pytest.raises(LoraJaxError, match="column 'state', has 'CA'"):
        read_table(path)
    assert read_table(path, {"status": "outcome"}).run_ids == ("r0", "r2")
    with pytest.raises(LoraJaxError, match="nearest: 'outcome'"):
        read_table(path, {"status": "outcom"})


def test_states_of_a_country_beside_a_status_are_none(tmp_path: Path) -> None:
    table = read_table(table_of(tmp_path, "status,state", ["done", "failed", "done"], "CA,NY,TX"))
    assert table.run_ids == ("r0", "r2")
    assert "'state' is taken for no status, as none of its words is one." in table.notes


def test_two_columns_that_disagree_are_refused(tmp_path: Path) -> None:
    path = table_of(tmp_path, "status,State", ["done", "done", "failed"], "finished,crashed,failed")
    with pytest.raises(
        LoraJaxError, match="line 3, has 'done' in column 'status' and 'crashed' in column 'State'"
    ):
        read_table(path)
    assert read_table(path, {"status": "State"}).run_ids == ("r0",)
    agreed = table_of(tmp_path, "status,State", ["done", "failed", "done"], "finished,crashed,finished")
    assert read_table(agreed).run_ids == ("r0", "r2")


def test_an_empty_cell_counts_unless_others_have_finished(tmp_path: Path) -> None:
    table = read_table(table_of(tmp_path, "State", ["finished", "", "finished"]))
    assert table.run_ids == ("r0", "r2")
    assert table.left_out[0].reason == NO_STATUS
    assert "1 runs have an empty 'State': they are left out, as others have finished." in table.notes
    table = read_table(table_of(tmp_path, "State", ["", "crashed", ""]))
    assert table.run_ids == ("r0", "r2")
    assert "2 runs have an empty 'State': they count, as no other is said to have finished." in table.notes
    assert len(read_table(table_of(tmp_path, "State", ["", "", ""]))) == 3
