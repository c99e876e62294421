"""trackio's page shows a run of ours in a browser, with its curves.

trackio is in no environment that launch.sh makes: it asks for another Pillow than constraints.txt pins. To
run this, install trackio without that file, and Debian's package chromium.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lora_jax.runs.sinks.live_file import LiveFiles
from lora_jax.runs.tracking import open_tracker
from tests.runs.test_tracker import RECORD
from tests.runs.test_trackio_tracker import RUN, SOURCE, make_row

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SHOW = "import sys; from trackio.cli import main; sys.argv[0] = 'trackio'; main()"


@pytest.fixture
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed: apt install chromium")
    return found


@contextmanager
def page_of(folder: Path, home: Path) -> Generator[str]:
    """Serve trackio's page as `trackio show` does; give its address, without the token to write."""
    env = os.environ | {
        "TRACKIO_DIR": str(folder / "trackio"),
        "HOME": str(home),
        "BROWSER": "true",
        "PYTHONUNBUFFERED": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-c", SHOW, "show", "--project", "tiny"],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            found = None
            while found is None:
                line = process.stdout.readline()
                assert line, "trackio has ended"
                found = re.search(r"http://127\.0\.0\.1:\d+", line)
            yield found[0]
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def open_page(browser: str, address: str, home: Path) -> str:
    """Return the page as the browser has made it after some seconds of its own clock."""
    done = subprocess.run(
        [
            browser,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={home / 'browser'}",
            "--window-size=1300,2400",
            "--virtual-time-budget=15000",
            "--dump-dom",
            address,
        ],
        env=os.environ | {"HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_browser_shows_the_run_and_its_curves(tmp_path: Path, browser: str) -> None:
    pytest.importorskip(
        "trackio",
        reason="trackio is not installed: it asks for another Pillow than constraints.txt pins",
        exc_type=ImportError,
    )
    live, tracker = LiveFiles(tmp_path), open_tracker("trackio", "tiny", tmp_path, lambda line: None)
    tracker.announce({RUN: RECORD.config})
    for sink in (live, tracker):
        sink.begin(SOURCE, 0)
        for step in range(1, 6):
            sink.take(SOURCE, make_row(step))
    tracker.finish()
    assert tracker.mode == "local", tracker.notes
    with page_of(tmp_path, tmp_path) as address:
        page = open_page(browser, f"{address}/?project=tiny", tmp_path)
    assert RUN in page
    charts = re.findall(r"<canvas|<svg[^>]*class=\"marks\"", page)
    assert len(charts) >= 3, "loss, learning rate, tokens"
    for name in ("loss", "learning_rate", "n_tokens"):
        assert re.search(rf">\s*{name}\s*<", page), name
