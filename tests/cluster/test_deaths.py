"""The notes of workers that died."""

from pathlib import Path

from lora_jax.cluster.deaths import count_deaths, describe_death, forget_death, note_death, read_deaths


def test_a_worker_that_is_queued_again_knows_how_often_it_died(tmp_path: Path) -> None:
    log = tmp_path / "12_0_0_log.out"
    for n in range(3):
        assert count_deaths(tmp_path, "12_0") == n
        note_death(tmp_path, describe_death("12_0", 137, 90.0, n, log))
    assert count_deaths(tmp_path, "12_1") == 0, "another one has its own"
    assert read_deaths(tmp_path)[0].is_last, "three in a row are enough"
    forget_death(tmp_path, "12_0")
    assert count_deaths(tmp_path, "12_0") == 0
