"""The report in a real browser: it is drawn, whole, without a script and without the network."""

from __future__ import annotations

import http.server
import struct
import subprocess
import threading
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchd.core.html import render_html
from benchd.core.model import JobState, RunOutcome
from benchd.core.report import build
from support.builders import CREATED_AT as T0
from support.builders import client, run
from support.documents import result

pytestmark = pytest.mark.real("chromium")

WIDTH, HEIGHT = 500, 1400  # a narrow window: the harder case
QUIET = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Counting(http.server.SimpleHTTPRequestHandler):
    """Serves one folder and remembers what was asked for."""

    asked: list[str]

    def do_GET(self) -> None:
        """Note the path, then serve it."""
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own word
        """Say nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve a report; give its address and the list of what the browser asked for."""
    jobs = [
        replace(
            client(repeat=k),
            state=JobState.COMPLETED,
            slurm_id=str(k),
            submitted_at=T0,
            started_at=T0 + 2,
            ended_at=T0 + 9,
            collected_at=T0 + 9,
        )
        for k in range(3)
    ]
    done = run(finished_at=T0 + 10, outcome=RunOutcome.PASSED)
    report = build(done, jobs, [result(job) for job in jobs], {}, now=T0 + 10)
    (tmp_path / "report.html").write_text(render_html(report))
    asked: list[str] = []
    handler = type("Handler", (Counting,), {"asked": asked})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *a: handler(*a, directory=str(tmp_path))
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/report.html", asked
    server.shutdown()
    server.server_close()
    thread.join()


def chromium(profile: Path, *words: str) -> str:
    """Run a headless Chromium; return what it printed."""
    argv = ["chromium", *QUIET, f"--user-data-dir={profile}", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def pixels(png: bytes) -> tuple[int, int, set[bytes]]:
    """Return width, height and the distinct rows of a picture, filters and all."""
    width, height = struct.unpack(">II", png[16:24])
    data, at = b"", 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += 12 + length
    rows = zlib.decompress(data)
    step = len(rows) // height
    return width, height, {rows[k * step : (k + 1) * step] for k in range(height)}


def test_a_browser_draws_the_report_and_asks_for_nothing_else(
    site: tuple[str, list[str]], tmp_path: Path
) -> None:
    """One request, the numbers in the page, and a picture that is not empty."""
    address, asked = site
    page = chromium(tmp_path / "profile", "--dump-dom", address)
    assert ("PASSED" in page, "<svg" in page, "<script" in page) == (True, True, False)
    picture = tmp_path / "report.png"
    window = f"--window-size={WIDTH},{HEIGHT}"
    chromium(tmp_path / "profile", window, f"--screenshot={picture}", address)
    width, height, rows = pixels(picture.read_bytes())
    assert (width, height) == (WIDTH, HEIGHT)
    assert len(rows) > HEIGHT / 4, "most of the picture is one colour: was anything drawn?"
    assert {"/report.html", "/favicon.ico"} >= set(asked)
