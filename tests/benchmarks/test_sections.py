"""Each section, at sizes that take no time: what it times is what it says, and its figures fit together."""

import jax
import numpy as np
import pytest

from benchmarks import choices, data, steps
from benchmarks.checkpoints import measure_checkpoints
from benchmarks.compilation import measure_compilation
from benchmarks.steps import COMPILED, EAGER, SHAPES, Shape, make_rival_row, make_row, measure_steps
from benchmarks.store import measure_store
from benchmarks.watching import measure_watching
from lora_jax.model.declare import flops_per_token

TINY = Shape(32, 1, 16, 2)
DEEPER = Shape(32, 2, 16, 2)


def keep_quiet(text: str) -> None:
    assert text


@pytest.mark.slow
def test_the_step_beside_its_floor_and_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "is_here", lambda *_: False)
    (section,) = measure_steps(3, keep_quiet, [TINY], turn_seconds=0.01)
    (row,) = section.rows
    assert row.settings["flops"] == flops_per_token(TINY.model, TINY.seq_len) * 32
    assert all(len(figure.samples) == 3 for figure in row.figures)
    assert min(row["step"].samples) > 0
    assert section.note.endswith("PyTorch is not installed: ./launch.sh bench --torch installs it.")


def test_the_figures_of_a_step_follow_from_its_seconds() -> None:
    row = make_row(TINY, {"step": [0.25, 0.5], "floor": [0.125, 0.125]})
    assert row["tokens/s"].samples == (128.0, 64.0)
    assert row["step"].samples == (250.0, 500.0)
    assert row["step / floor"].samples == (2.0, 4.0)
    assert row["floor's speed"].median == pytest.approx(8e-9 * row.settings["flops"])


def test_the_ratio_to_pytorch_is_of_speeds_in_one_round() -> None:
    row = make_rival_row(TINY, {"step": [0.25, 0.5], EAGER: [0.5, 0.5], COMPILED: [0.125, 0.25]})
    assert row["ours"].samples == (128.0, 64.0)
    assert row["ours / eager"].samples == (2.0, 1.0)
    assert row["ours / compiled"].samples == (0.5, 0.5)
    assert (row["ours / eager"].at_least, row["ours / eager"].better) == (1.0, "more")
    assert [figure.name for figure in make_rival_row(TINY, {"step": [1.0], EAGER: [1.0]}).figures] == [
        "ours",
        "eager",
        "ours / eager",
    ]


def test_the_shapes_are_those_that_were_asked_for() -> None:
    measured = [(s.d_model, s.n_layers, s.seq_len, s.batch) for s in SHAPES]
    assert measured == [(32, 2, 128, 32), (64, 3, 128, 32), (128, 4, 128, 32), (256, 6, 256, 16)]
    assert [s.model.head_dim for s in SHAPES] == [32] * 4


def test_watching_compares_two_steps_of_one_model() -> None:
    section = measure_watching(2, keep_quiet, [TINY])
    (row,) = section.rows
    names = ["step", "watched / loss alone", "loss alone / loss alone"]
    assert [figure.name for figure in row.figures] == names
    assert all(len(figure.samples) == 2 and min(figure.samples) > 0 for figure in row.figures)


@pytest.mark.slow
def test_a_folder_of_many_runs_is_read_and_concluded_by_fresh_processes() -> None:
    section = measure_store(2, keep_quiet, n_runs=240)
    stored, read, concluded = section.rows
    assert [row.settings for row in section.rows] == [{"runs": 240}] * 3
    assert 0 < stored["a run"].median < 50
    assert 0 < read["wall time"].median < 5
    whole, cpu, *parts = concluded.figures
    assert (whole.name, cpu.name) == ("wall time", "CPU time")
    assert [figure.name for figure in parts] == ["plan", "fit", "page"]
    assert whole.samples == pytest.approx([sum(one) for one in zip(*(p.samples for p in parts), strict=True)])


def test_a_state_is_on_the_disk_after_training_has_gone_on() -> None:
    (row,) = measure_checkpoints(2, keep_quiet, [70]).rows
    held, written, share = row.figures
    assert all(0 < one <= other for one, other in zip(held.samples, written.samples, strict=True))
    assert len(share.samples) == 2


@pytest.mark.slow
def test_compilation_counts_tracing_and_compiles_anew_each_time() -> None:
    seen: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: seen.append(event))
    shallow, deep, ratio = measure_compilation(1, keep_quiet, TINY, DEEPER).rows
    compilations = [event for event in seen if event == "/jax/core/compile/backend_compile_duration"]
    assert len(compilations) >= 3, "the warm-up, and one of each"
    for row in (shallow, deep):
        np.testing.assert_allclose(
            row["total"].samples, np.add(row["tracing"].samples, row["compiling"].samples)
        )
    np.testing.assert_allclose(
        ratio["total"].samples, np.divide(deep["total"].samples, shallow["total"].samples)
    )
    assert ratio["total"].at_most == 2.0


def test_the_plain_ways_compute_the_same() -> None:
    for actions in (choices.make_mlps(2, 8, 4, 16), choices.make_attentions(2, 8, 2, 4)):
        plain, own = (jax.tree.leaves(actions[name]()) for name in (choices.PLAIN, choices.OWN))
        assert len(plain) == 4
        for one, other in zip(plain, own, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.slow  # compiles a step of every choice
def test_a_choice_undone_is_another_program_and_done_again_the_same() -> None:
    own = choices.lower_step(DEEPER).as_text()
    for attribute, value in choices.PLAIN_WAYS.values():
        with choices._replaced(attribute, value):
            assert choices.lower_step(DEEPER).as_text() != own
    assert choices.lower_step(DEEPER).as_text() == own


@pytest.mark.slow  # compiles four training steps
def test_steps_with_a_choice_undone_train_alike() -> None:
    steps = choices.make_steps(DEEPER)
    losses = {name: [float(np.asarray(step())) for _ in range(3)] for name, step in steps.items()}
    assert losses.keys() == {choices.OWN, *choices.PLAIN_WAYS}
    for values in losses.values():
        np.testing.assert_allclose(values, losses[choices.OWN], rtol=1e-5)
    assert losses[choices.OWN][2] < losses[choices.OWN][0]


def test_the_choices_make_one_table() -> None:
    rows = list(choices.measure_choices(2, keep_quiet, (2, 8, 4, 16), (2, 8, 2, 4), steps=[]).rows)
    seconds = {name: [0.5, 0.25] for name in (choices.OWN, *choices.PLAIN_WAYS)}
    rows += choices.make_step_rows(TINY, seconds)
    assert len(rows) == 2 + len(choices.PLAIN_WAYS)
    for row in rows:
        np.testing.assert_allclose(
            row["plain / as built"].samples, np.divide(row["plain"].samples, row["as built"].samples)
        )


def test_data_is_tokenised_opened_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    speeches = data.find_speeches()[:4]
    monkeypatch.setattr(data, "find_speeches", lambda: speeches)
    for name, value in (("N_FILES", 20), ("VOCABULARY", 300), ("N_STEPS", 20), ("SEQ_LEN", 16)):
        monkeypatch.setattr(data, name, value)
    section = data.measure_data(2, keep_quiet)
    tokenising, opened, ahead = section.rows
    assert tokenising.settings["megabytes"] == round(2 * sum(p.stat().st_size for p in speeches) / 1e6, 1)
    ours, alone = tokenising["files to store"].samples, tokenising["library alone"].samples
    assert tokenising["ratio"].samples == tuple(a / b for a, b in zip(ours, alone, strict=True))
    assert 0 < max(opened["wall time"].samples) < 2
    assert 0 <= min(ahead["waited"].samples) <= max(ahead["waited"].samples) < 100
