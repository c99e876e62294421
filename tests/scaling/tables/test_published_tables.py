"""published:NAME: where a table is looked for, how it is checked, how it is fetched (from this machine)."""

import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.tables import published as module
from lora_jax.scaling.tables.published import PUBLISHED, find_published
from lora_jax.scaling.tables.table import read_table

CSV = b"Model Size,Training FLOP,loss\n100,1.2e6,3.5\n200,4.8e6,3.1\n"


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no local folder and an empty cache, whose path is returned; no server is reachable."""
    monkeypatch.delenv("LORA_JAX_PUBLISHED", raising=False)
    monkeypatch.setattr(module, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.setenv("LORA_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "RAW", "http://127.0.0.1:9")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    digest = hashlib.sha256(CSV).hexdigest()
    monkeypatch.setitem(PUBLISHED, "chinchilla", replace(PUBLISHED["chinchilla"], sha256=digest))
    return tmp_path / "cache"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """A web server on this machine in GitHub's place; a test fills in path -> content."""
    pages: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path in pages else 404)
            # a promise of more than comes is a connection that breaks off
            self.send_header("Content-Length", str(len(pages.get(self.path, b"")) + 10 * ("cut" in pages)))
            self.end_headers()
            self.wfile.write(pages.get(self.path, b""))

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setattr(module, "RAW", f"http://127.0.0.1:{running.server_port}")
        yield pages
        running.shutdown()
        thread.join()


def url_path(name: str) -> str:
    table = PUBLISHED[name]
    return f"/{table.repository}/{table.commit}/{table.path}"


def files_under(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def test_a_table_is_fetched_checked_and_cached(alone: Path, server: dict[str, bytes]) -> None:
    server[url_path("chinchilla")] = CSV
    table = read_table("published:chinchilla")
    np.testing.assert_array_equal(table["n_params"], [100, 200])
    np.testing.assert_allclose(table["n_tokens"], [2000, 4000])
    assert table.source == "published:chinchilla"
    assert "MIT" in table.notes[0]
    assert "mcleish7/gemstone-scaling-laws" in table.notes[0]
    assert files_under(alone) == ["chinchilla.csv"]
    server.clear()  # from now on every request is answered by 404
    assert len(read_table("published:chinchilla")) == 2
    (alone / "published" / "chinchilla.csv").write_bytes(CSV[:-5])  # damaged: fetched anew
    with pytest.raises(LoraJaxError, match="404"):
        read_table("published:chinchilla")
    server[url_path("chinchilla")] = CSV
    assert len(read_table("published:chinchilla")) == 2


def test_another_content_is_refused_and_leaves_nothing(alone: Path, server: dict[str, bytes]) -> None:
    server[url_path("chinchilla")] = CSV + b"300,1e7,3.0\n"
    with pytest.raises(LoraJaxError, match="SHA-256"):
        read_table("published:chinchilla")
    assert files_under(alone) == []


def test_a_connection_that_breaks_off_leaves_nothing(alone: Path, server: dict[str, bytes]) -> None:
    server |= {url_path("chinchilla"): CSV, "cut": b""}
    with pytest.raises(LoraJaxError, match="cannot be downloaded"):
        read_table("published:chinchilla")
    assert files_under(alone) == []


def test_a_cache_that_cannot_be_written_is_named(alone: Path, server: dict[str, bytes]) -> None:
    server[url_path("chinchilla")] = CSV
    alone.write_text("a file where a folder should be")
    with pytest.raises(LoraJaxError, match="LORA_JAX_CACHE"):
        read_table("published:chinchilla")


def test_without_a_network_there_is_one_sentence_at_once(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LoraJaxError, match="cannot be downloaded"):  # nobody listens
        find_published("chinchilla")

    def unknown(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(LoraJaxError, match=r"127\.0\.0\.1 is not found \(Name or service not known\)"):
        find_published("chinchilla")
    monkeypatch.setenv("http_proxy", "proxy.invalid:3128")  # then the proxy looks the server up, not we
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(LoraJaxError, match=r"proxy\.invalid is not found"):
        find_published("chinchilla")
    monkeypatch.setattr(module, "NAME_TIMEOUT", 0.05)
    wait = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: wait.wait(5))
    with pytest.raises(LoraJaxError, match="no answer"):
        find_published("chinchilla")
    wait.set()


def test_local_folders_come_first_and_are_checked(alone: Path, tmp_path: Path, monkeypatch) -> None:
    beside, named = tmp_path / "shared" / "data" / "published", tmp_path / "named"
    for folder in (beside, named):
        folder.mkdir(parents=True)
        (folder / "chinchilla.csv").write_bytes(CSV)
    monkeypatch.setattr(module, "CHECKOUT", tmp_path / "checkout")
    assert find_published("chinchilla")[0] == beside / "chinchilla.csv"
    monkeypatch.setenv("LORA_JAX_PUBLISHED", str(named))
    assert find_published("chinchilla")[0] == named / "chinchilla.csv"
    (named / "chinchilla.csv").write_bytes(CSV + b"1,1,1\n")
    with pytest.raises(LoraJaxError, match=r"named/chinchilla\.csv has the SHA-256"):
        find_published("chinchilla")
    assert not alone.exists()


@pytest.mark.parametrize("name", ["gadre", "muennighoff", "olmo", "porian"])
def test_a_derived_table_is_read_from_a_folder_only(alone: Path, name: str) -> None:
    with pytest.raises(LoraJaxError, match=f"{PUBLISHED[name].repository}.*LORA_JAX_PUBLISHED"):
        read_table(f"published:{name}")


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(LoraJaxError, match="nearest: 'chinchilla'"):
        read_table("published:chinchila")


def test_every_table_says_where_it_is_from() -> None:
    for table in PUBLISHED.values():
        assert table.licence in ("MIT", "Apache-2.0")
        assert (table.path is None) == (table.sha256 is None) == (table.url is None)
        if table.url is not None:
            assert len(table.commit) == 40
            assert table.url.startswith("https://raw.githubusercontent.com/")


@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("chinchilla", 245),
        ("gemstones-hot", 220),
        ("gemstones-cool", 199),
        ("flan", 420),
        ("gigaword", 420),
        ("gadre", 104),
        ("muennighoff", 296),
        ("olmo", 18),
        ("porian", 1745),
    ],
)
def test_the_tables_are_read(published: Path, monkeypatch: pytest.MonkeyPatch, name: str, n: int) -> None:
    monkeypatch.setenv("LORA_JAX_PUBLISHED", str(published))
    table = read_table(f"published:{name}")  # the declared hash is that of the file
    assert len(table) == n
    assert np.all((table["loss"] > 0) & (table["loss"] < 15))
    assert np.all(table.variable("N") > 1e5)


def test_the_declared_hash_is_the_one_in_the_data_set_s_own_description(published: Path) -> None:
    assert f"sha256 {PUBLISHED['chinchilla'].sha256}" in (published / "README.md").read_text()


def test_gadres_tokens_are_his_multiple_of_the_parameters(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_JAX_PUBLISHED", str(published))
    table = read_table("published:gadre", where=["dataset=rpj", "tok_mult>=20", "model~^d=96_"])
    np.testing.assert_allclose(table.variable("D") / table.variable("N"), table["tok_mult"], rtol=0.01)
    assert table.has("L")
    assert 0.5 < table["error"].max() < 1


def test_wide_tables_are_read_long(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_JAX_PUBLISHED", str(published))
    table = read_table("published:flan")
    sizes = 200.0 * 2.0 ** np.arange(14)
    assert sorted(set(table["finetune_tokens"])) == sizes.tolist()
    assert table.clusters is not None
    assert len(set(table.clusters)) == 30
    assert {gone.reason for gone in table.left_out} == {"not fine-tuned: the set's size is 0"}
    one = read_table("published:flan", where=["model=facebook/bart-base"])
    np.testing.assert_array_equal(one.variable("F"), sizes)
    assert set(one["n_params"]) == {96103680.0}
    assert one["loss"][-1] == 1.684824944
    assert one.clusters is None  # fourteen fine-tunings of one model are fourteen runs
