"""`lora_jax.speedup`: tables or paths in, speed-ups with intervals and traps out."""

import lora_jax as lj
from tests.scaling.speedups.test_speedup import runs


def test_two_tables_give_speedups_and_a_page_of_html() -> None:
    found = lj.speedup(runs(1.0, 0.004, 1), runs(0.95, 0.004, 2), shared=["E"])
    assert {point.of for point in found.points} == {"C", "D"}
    assert all(point.speedup.low < point.speedup.value < point.speedup.high for point in found.points)
    assert "recipe in compute at equal loss" in repr(found)
    assert "Speed-up over baseline" in found._repr_html_()
    assert found.plot() is not None
    assert found.report.shared == ("E",)
