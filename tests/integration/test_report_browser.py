"""The report in a real browser: it is drawn, whole, without a script and without the network."""

from __future__ import annotations

import http.server
import json
import re
import struct
import subprocess
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchd.core.comparison import comparison_page
from benchd.core.html import render_html
from benchd.core.model import Transition
from benchd.core.report import build
from support.builders import CREATED_AT, run
from support.sweeps import comparison, report, swept

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
# Looks at a page from outside, for the page itself runs nothing: is it wider than its window, and
# on what ground does it stand?
LOOK = """<!doctype html><meta name="color-scheme" content="light dark">
<body style="margin:0"><iframe style="border:0;width:{width}px;height:900px" src="{page}"></iframe>
<script>onload = () => {{
  const seen = document.querySelector("iframe").contentDocument;
  for (const each of seen.querySelectorAll("details")) each.open = true;
  const root = seen.documentElement;
  document.body.textContent = JSON.stringify([root.scrollWidth <= root.clientWidth,
    getComputedStyle(seen.body).backgroundColor, seen.querySelectorAll("svg").length]);
}}</script>"""


# The same of a page as it is printed: how wide is what stands on it, and what is folded away?
PAPER = """<!doctype html><body style="margin:0">
<iframe style="border:0;width:{width}px;height:900px" src="paper.html"></iframe>
<script>onload = () => {{
  const seen = document.querySelector("iframe").contentDocument;
  const shown = each => each.checkVisibility({{visibilityProperty: true}});
  const wide = Math.max(...[...seen.querySelectorAll("td, th, svg, pre, p, li")].filter(shown)
    .map(each => each.getBoundingClientRect().right));
  const inner = [...seen.querySelectorAll("details > :not(summary)")];
  const kinds = new Set(inner.filter(shown).map(each => each.parentElement.className));
  const hidden = new Set(inner.filter(e => !shown(e)).map(e => e.parentElement.className));
  document.body.textContent = JSON.stringify([Math.round(wide), [...kinds], [...hidden]]);
}}</script>"""
SHEET = 688  # CSS pixels between the margins of A4, 14 mm each; the narrower one, with Letter


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
    """Serve reports; give their address and the list of what the browser asked for."""
    (tmp_path / "report.html").write_text(render_html(report(*swept(5, 3))))
    (tmp_path / "compare.html").write_text(comparison_page(comparison(3, 5)))
    asked: list[str] = []
    handler = type("Handler", (Counting,), {"asked": asked})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *a: handler(*a, directory=str(tmp_path))
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join()


def chromium(profile: Path, *words: str) -> tuple[str, list[str]]:
    """Run a headless Chromium; return what it printed, and what stood on its console."""
    argv = ["chromium", *QUIET, "--enable-logging=stderr", f"--user-data-dir={profile}", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout, re.findall(r".*CONSOLE.*", done.stderr)


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
    """One request, the numbers in the page, an empty console, and a picture that is not."""
    address, asked = site
    page, console = chromium(tmp_path / "profile", "--dump-dom", f"{address}/report.html")
    assert ("PASSED" in page, "<svg" in page, "<script" in page, console) == (True, True, False, [])
    picture = tmp_path / "report.png"
    window = f"--window-size={WIDTH},{HEIGHT}"
    chromium(tmp_path / "profile", window, f"--screenshot={picture}", f"{address}/report.html")
    width, height, rows = pixels(picture.read_bytes())
    assert (width, height) == (WIDTH, HEIGHT)
    assert len(rows) > HEIGHT / 4, "most of the picture is one colour: was anything drawn?"
    assert {"/report.html", "/favicon.ico"} >= set(asked)


@pytest.mark.parametrize("page", ["report.html", "compare.html"])
@pytest.mark.parametrize("ground", ["light", "dark"])
def test_a_page_fits_a_narrow_window_in_both_grounds(
    site: tuple[str, list[str]], tmp_path: Path, page: str, ground: str
) -> None:
    """With everything unfolded a page is never wider than a telephone, and keeps to the ground."""
    address, asked = site
    (tmp_path / "look.html").write_text(LOOK.format(width=380, page=page))
    colours = f"--blink-settings=preferredColorScheme={int(ground == 'light')}"
    dom, console = chromium(tmp_path / "profile", colours, "--dump-dom", f"{address}/look.html")
    fits, colour, drawings = json.loads(dom[dom.index("[") : dom.rindex("]") + 1])
    is_dark = max(map(int, re.findall(r"\d+", colour))) < 64
    assert (fits, is_dark, drawings > 0, console) == (True, ground == "dark", True, [])
    assert {f"/{page}", "/look.html", "/favicon.ico"} >= set(asked)


def test_nothing_is_cut_off_on_paper(site: tuple[str, list[str]], tmp_path: Path) -> None:
    """Tables and charts fit a sheet; repeats and origin are unfolded, single histories left out."""
    address, _ = site
    jobs, results = swept(5, 3)
    moves = {jobs[0].token: [Transition(token=jobs[0].token, at=1.0, trigger="t", old="", new="")]}
    page = render_html(build(run(), jobs, results, moves, now=CREATED_AT + 10))
    (tmp_path / "paper.html").write_text(page.replace("@media print", "@media screen"))
    (tmp_path / "look.html").write_text(PAPER.format(width=SHEET))
    dom, console = chromium(tmp_path / "profile", "--dump-dom", f"{address}/look.html")
    widest, unfolded, hidden = json.loads(dom[dom.index("[") : dom.rindex("]") + 1])
    assert (widest <= SHEET, unfolded, hidden, console) == (True, ["paper"], [""], []), widest
