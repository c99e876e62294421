"""`--slurm KEY=VALUE,...`: what is read, and what is refused in a sentence."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from submitit.slurm.slurm import _make_sbatch_string

from lora_jax.cluster.slurm_options import KEYS, RESERVED, SlurmOptions, read_slurm
from lora_jax.cluster.submit import to_parameters
from lora_jax.errors import LoraJaxError

NAMES = st.text(st.sampled_from("abcdefgh-_0123456789"), min_size=1, max_size=12)


@given(
    partition=NAMES | st.none(),
    account=NAMES | st.none(),
    gpus=st.integers(1, 64) | st.none(),
    cpus=st.integers(1, 4096) | st.none(),
    gigabytes=st.integers(1, 4096) | st.none(),
    minutes=st.integers(1, 527_040),
)
def test_what_is_written_is_read(partition, account, gpus, cpus, gigabytes, minutes) -> None:
    asked = {
        "partition": partition,
        "account": account,
        "gpus": gpus,
        "cpus": cpus,
        "memory": gigabytes,
        "minutes": minutes,
    }
    text = ",".join(f"{name}={value}" for name, value in asked.items() if value is not None)
    assert read_slurm(text) == SlurmOptions(
        minutes=minutes,
        partition=partition,
        account=account,
        cpus=cpus,
        gpus=None if gpus is None else str(gpus),
        memory=None if gigabytes is None else f"{gigabytes}G",
    )


@pytest.mark.parametrize(("text", "minutes"), [("hours=4", 240), ("hours=0.01", 1), ("minutes=90", 90)])
def test_time_is_in_whole_minutes(text: str, minutes: int) -> None:
    assert read_slurm(text).minutes == minutes


@pytest.mark.parametrize(("text", "memory"), [("32", "32G"), ("32g", "32G"), ("500MB", "500M"), ("1T", "1T")])
def test_memory_is_in_gigabytes_unless_said(text: str, memory: str) -> None:
    assert read_slurm(f"hours=1,memory={text}").memory == memory


def test_a_value_may_hold_commas() -> None:
    found = read_slurm(
        "sbatch.exclude=node7,node8,hours=1,constraint=a100&nvlink,sbatch.exclusive,sbatch.nice=5"
    )
    assert found.further == (("exclude", "node7,node8"), ("exclusive", None), ("nice", "5"))
    assert found.constraint == "a100&nvlink"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("partition=gpu", "add hours=N or minutes=N"),
        ("", "has no '' (known: account"),
        ("hours", "has 'hours' without a value"),
        ("hours=", "has 'hours' without a value"),
        ("hours=1,minutes=5", "both hours and minutes"),
        ("hours=1,hours=2", "has 'hours' twice"),
        ("hours=0", "must be a number above 0 and at most 8,784"),
        ("hours=nan", "must be a number above 0 and at most 8,784"),
        ("minutes=1.5", "must be a whole number from 1 to 527,040"),
        ("hours=4,gpus=0", "must be a whole number from 1 to 64"),
        ("hours=4,gpus=two", "must be a whole number from 1 to 64"),
        ("hours=4,gpus=a 100:1", "it must look like 2 or a100:2"),
        ("hours=4,nodes=0", "must be a whole number from 1 to 10,000"),
        ("hours=4,cpus=-1", "must be a whole number from 1 to 4,096"),
        ("hours=4,memory=lots", "it must look like 32G or 500M"),
        ("hours=4,memory=0", "it must look like 32G or 500M"),
        ("hours=4,partion=gpu", "has no 'partion' (nearest: 'partition')"),
        ("time=4:00:00", "has no 'time' (here it is 'hours')"),
        ("hours=4,mem=32G", "has no 'mem' (here it is 'memory')"),
        ("hours=4,partition=a\tb", "must be a text on one line"),
        ("hours=4,sbatch.x", "no long option of sbatch"),
        ("hours=4,sbatch.exclude=", "must be a text on one line"),
        ("hours=4,sbatch.array=0-3", "say it by --workers"),
        ("hours=4,sbatch.requeue", "leave it out"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(LoraJaxError) as caught:
        read_slurm(text)
    told = str(caught.value)
    assert words in told
    assert told.startswith("--slurm ")
    assert told.endswith(".")
    assert "\n" not in told


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_what_we_set_is_not_taken_from_users(name: str) -> None:
    with pytest.raises(LoraJaxError, match="lora_jax sets itself"):
        read_slurm(f"hours=1,sbatch.{name}=x")


@given(st.text(max_size=60))
def test_any_other_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(LoraJaxError):
        assert read_slurm(text).minutes > 0


ASKED = (
    "partition=gpu,account=lab,qos=high,constraint=a100,nodes=3,gpus=a100:2,cpus=8,memory=32,hours=4,"
    "sbatch.exclude=node7,node8,sbatch.exclusive"
)


def sbatch_text(text: str) -> str:
    parameters = to_parameters(Path("/results/an hour"), read_slurm(text))
    return _make_sbatch_string("COMMAND", Path("/results/an hour/slurm"), map_count=8, **parameters)


def test_every_key_reaches_sbatch() -> None:
    lines = sbatch_text(ASKED).splitlines()
    for line in (
        "--partition=gpu",
        "--account=lab",
        "--qos=high",
        "--constraint=a100",
        "--gpus-per-node=a100:2",
        "--cpus-per-task=8",
        "--mem=32G",
        "--time=240",
        "--exclude=node7,node8",
        "--exclusive",
        "--nodes=3",
        "--ntasks-per-node=1",
        "--array=0-7%8",
        "--requeue",
        "--signal=USR2@120",
        "--open-mode=append",
        "--job-name='lora-jax an hour'",
    ):
        assert f"#SBATCH {line}" in lines
    assert not any("wckey" in line for line in lines)
    (command,) = (line for line in lines if line.endswith(" COMMAND"))
    for part in ("--cpus-per-task=8", "--kill-on-bad-exit=1", "--wait=0"):
        assert part in command
    assert "--open-mode=append" in command
    assert {key for key in KEYS if f"{key}=" in ASKED} == set(KEYS) - {"minutes"}


@pytest.mark.parametrize(("text", "n"), [("gpus=a100:4,nodes=2", 8), ("gpus=4", 4), ("nodes=2", None)])
def test_the_gpus_of_a_worker_are_those_of_all_its_machines(text: str, n: int | None) -> None:
    assert read_slurm(f"hours=1,{text}").n_devices == n


def test_a_short_allocation_is_not_all_notice() -> None:
    assert "--signal=USR2@20" in sbatch_text("minutes=1")
    assert "--gpus" not in sbatch_text("minutes=1")
