"""What a device receives in collectives, on programs that were written by hand."""

import pytest

from lora_jax.compiling.collectives import count_collectives
from lora_jax.compiling.groups import read_groups, read_pairs
from lora_jax.compiling.hlo import parse
from lora_jax.target import parse_target

SIZE = 4.0 * 1024  # bytes of the whole array, of four devices


def find(target: str, *lines: str):
    body = "".join(f"  {line}\n" for line in lines)
    head = "HloModule m\n\nENTRY %main (p: f32[256]) -> f32[256] {\n  %p = f32[256]{0} parameter(0)\n"
    text = head + body + "}\n"
    return count_collectives(parse(text), parse_target(target))


def collectives(*lines: str):
    return {one.kind: (one.count, one.received_bytes) for one in find("v5e:2x2", *lines)}


GROUPS = "replica_groups=[1,4]<=[4]"


def test_what_a_device_receives_around_a_ring() -> None:
    assert collectives(f"%g = f32[1024]{{0}} all-gather(%p), {GROUPS}, dimensions={{0}}") == {
        "all-gather": (1, 0.75 * SIZE)
    }
    assert collectives(f"%r = f32[1024]{{0}} all-reduce(%p), {GROUPS}, to_apply=%add") == {
        "all-reduce": (1, 1.5 * SIZE)
    }
    assert collectives(
        f"%s = f32[256]{{0}} reduce-scatter(%p), {GROUPS}, dimensions={{0}}, to_apply=%add"
    ) == {"reduce-scatter": (1, 0.75 * SIZE)}
    assert collectives("%c = f32[1024]{0} collective-permute(%p), source_target_pairs={{0,1}}") == {
        "collective-permute": (1, SIZE)
    }
    assert collectives("%g = f32[256]{0} add(%p, %p)") == {}


def test_groups_are_read_in_every_spelling() -> None:
    named = "replica_groups=mesh['a'=2,'b'=2] {'b'}"
    for groups in ("replica_groups={{0,1},{2,3}}", "replica_groups=[2,2]<=[4]", named):
        (found,) = collectives(f"%g = f32[1024]{{0}} all-gather(%p), {groups}, dimensions={{0}}").values()
        assert found == (1, 0.5 * SIZE)


def test_a_collective_that_is_begun_and_ended_counts_once() -> None:
    found = collectives(
        f"%g = (f32[256]{{0}}, f32[1024]{{0}}) all-gather-start(%p), {GROUPS}, dimensions={{0}}",
        "%d = f32[1024]{0} all-gather-done(%g)",
    )
    assert found == {"all-gather": (1, pytest.approx(0.75 * SIZE))}
    two = f"%g = ((f32[256], f32[64]), (f32[1024], f32[256])) all-gather-start(%p, %q), {GROUPS}"
    assert collectives(two) == {"all-gather": (1, pytest.approx(0.75 * 1.25 * SIZE))}
    permute = (
        "%c = (f32[1024], f32[1024], u32[], u32[]) collective-permute-start(%p), source_target_pairs={{0,1}}"
    )
    assert collectives(permute) == {"collective-permute": (1, SIZE)}
    scatter = f"%s = ((f32[1024]{{0}}), f32[256]{{0}}) reduce-scatter-start(%p), {GROUPS}, to_apply=%add"
    assert collectives(scatter) == {"reduce-scatter": (1, 0.75 * SIZE)}
    exchange = f"%s = ((f32[1024]{{0}}), f32[1024]{{0}}) all-to-all-start(%p), {GROUPS}"
    assert collectives(exchange) == {"all-to-all": (1, 0.75 * SIZE)}
    found = collectives(
        f"%g = f32[1024]{{0}} all-reduce-start(%p), {GROUPS}, to_apply=%add",
        "%d = f32[1024]{0} all-reduce-done(%g)",
    )
    assert found == {"all-reduce": (1, pytest.approx(1.5 * SIZE))}


FUSED = """HloModule m

%begin (x: f32[256]) -> f32[1024] {
  %x = f32[256]{0} parameter(0)
  ROOT %g = f32[1024]{0} all-gather(%x), GROUPS, frontend_attributes={chain_id="3"}
}
%meanwhile (x: f32[256]) -> f32[1024] {
  %x.1 = f32[256]{0} parameter(0)
  ROOT %g.1 = f32[1024]{0} all-gather(%x.1), GROUPS, frontend_attributes={chain_id="3"}
}
%all-reduce-scatter (x: f32[1024]) -> f32[256] {
  %x.2 = f32[1024]{0} parameter(0)
  %r = f32[1024]{0} all-reduce(%x.2), GROUPS, to_apply=%add
  ROOT %s = f32[256]{0} dynamic-slice(%r), dynamic_slice_sizes={256}
}

ENTRY %main (p: f32[256]) -> f32[256] {
  %p = f32[256]{0} parameter(0)
  %b = f32[1024]{0} fusion(%p), kind=kCustom, calls=%begin
  %m = f32[1024]{0} fusion(%p), kind=kCustom, calls=%meanwhile
  ROOT %s.1 = f32[256]{0} fusion(%m), kind=kCustom, calls=%all-reduce-scatter
}
""".replace("GROUPS", GROUPS)


def test_a_chain_inside_fusions_counts_once_and_a_sum_of_parts_is_a_reduce_scatter() -> None:
    counted = count_collectives(parse(FUSED), parse_target("v5e:2x2"))
    found = {one.kind: (one.count, one.received_bytes) for one in counted}
    assert found == {"all-gather": (1, 0.75 * SIZE), "reduce-scatter": (1, 0.75 * SIZE)}


def test_groups_of_every_spelling_have_their_members() -> None:
    spellings = {
        "{{0,1},{2,3}}": [[0, 1], [2, 3]],
        "[2,2]<=[4]": [[0, 1], [2, 3]],
        "[2,2]<=[2,2]T(1,0)": [[0, 2], [1, 3]],
        "mesh['a'=2,'b'=2] {'b'}": [[0, 1], [2, 3]],
        "mesh['a'=2,'b'=2] {'a'}": [[0, 2], [1, 3]],
        "mesh['a'=2,'b'=2] {'a','b'}": [[0, 1, 2, 3]],
        "{}": [[0, 1, 2, 3]],
    }
    for text, wanted in spellings.items():
        (found,) = _gather(f"replica_groups={text}").values()
        assert [list(group) for group in read_groups(found, 4)] == wanted
    (permute,) = _gather("source_target_pairs={{0,1},{3,2}}").values()
    assert read_pairs(permute) == [[0, 1], [3, 2]]


def _gather(groups: str):
    text = f"HloModule m\n\nENTRY %main () -> f32[4] {{\n  ROOT %g = f32[4]{{0}} all-gather(), {groups}\n}}\n"
    return parse(text).computations["main"]


@pytest.mark.parametrize(
    ("line", "share"),
    [
        # Each of two machines needs half of it from the other, and its eight cards share that.
        ("all-gather(%p), replica_groups=[1,16]<=[16]", 1 / 2 / 8),
        ("all-reduce(%p), replica_groups=[1,16]<=[16]", 2 * 1 / 2 / 8),
        ("all-to-all(%p), replica_groups=[1,16]<=[16]", 1 / 2),
        ("all-gather(%p), replica_groups=[2,8]<=[16]", 0.0),  # in one machine
        ("all-gather(%p), replica_groups=[8,2]<=[2,8]T(1,0)", 1 / 2),  # a GPU of each machine
        ("all-reduce(%p), replica_groups=[2,8]<=[2,2,4]T(1,0,2)", 2 * 1 / 2 / 4),
        ("collective-permute(%p), source_target_pairs={{7,8}}", 1.0),
        ("collective-permute(%p), source_target_pairs={{0,7}}", 0.0),
    ],
)
def test_what_comes_from_another_machine(line: str, share: float) -> None:
    (found,) = find("h100:16", f"%g = f32[1024]{{0}} {line}")
    assert found.network_bytes == pytest.approx(share * SIZE)
    assert found.network_bytes <= found.received_bytes
    if "16" in line:  # the same number of chips is one slice, and has no cards between machines
        (found,) = find("v5e:4x4", f"%g = f32[1024]{{0}} {line}")
        assert found.network_bytes == 0


def test_a_scattered_sum_needs_half_of_the_whole_from_the_other_machine() -> None:
    (found,) = find("h100:16", "%s = f32[64]{0} reduce-scatter(%p), replica_groups=[1,16]<=[16]")
    assert found.network_bytes == pytest.approx(SIZE / 2 / 8)
