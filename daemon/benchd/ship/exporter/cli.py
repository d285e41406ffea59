"""The command line of the exporter, and its server."""

import argparse
import os
import signal
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Callable, List, Optional

from . import VERSION
from .exposition import render
from .gpus import Gpus, ours
from .node import Node
from .processes import Processes

# Seconds a client of ours may be silent: a scraper that hangs must not hold a thread for ever.
_PATIENCE = 30.0


class _Server(socketserver.ThreadingMixIn, HTTPServer):
    """One thread a request; ends by itself when the job's own process is gone."""

    daemon_threads = True
    root = 0

    def service_actions(self) -> None:
        """Look, every half second, whether there is still a job to tell of."""
        if not os.path.isdir("/proc/%d" % self.root):
            threading.Thread(target=self.shutdown, daemon=True).start()


def _pages(page: Callable[[], bytes]) -> type:
    class Pages(BaseHTTPRequestHandler):
        """Answers /metrics and /healthz."""

        timeout = _PATIENCE

        def do_GET(self) -> None:  # noqa: N802 - the library's name
            if self.path.partition("?")[0] == "/metrics":
                self._answer(200, page(), "text/plain; version=0.0.4; charset=utf-8")
            elif self.path == "/healthz":
                self._answer(200, b"ok\n", "text/plain; charset=utf-8")
            else:
                self._answer(404, b"see /metrics\n", "text/plain; charset=utf-8")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            """Say nothing: a line for every scrape would fill the job's log."""

    return Pages


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchd-exporter", description="What one Slurm job uses of its node, for Prometheus."
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", type=int, default=9470, help="0 picks a free one (default %(default)s)")
    add("--pid", type=int, default=os.getppid(), help="the job descends from it (default: caller)")
    add("--job", default=os.environ.get("SLURM_JOB_ID", ""), help="Slurm id (default: our job's)")
    add("--proc", default="/proc", help="where the kernel tells of processes")
    add("--sys", default="/sys", help="where the kernel tells of cgroups")
    add("--once", action="store_true", help="print the page and end")
    add("--version", action="version", version="benchd-exporter %s" % VERSION)
    return parser


def main(argv: Optional[List[str]] = None) -> int:
    """Serve until a signal comes or the job's process is gone."""
    args = _parser().parse_args(argv)
    processes = Processes(args.proc, args.pid, args.job, os.getpid())
    node, gpus = Node(args.proc, args.sys, args.job), Gpus(*ours())
    turn = threading.Lock()  # counters remember their highest value

    def page() -> bytes:
        with turn:
            return render([*processes.values(), *node.values(), *gpus.values()])

    if args.once:
        sys.stdout.write(page().decode("utf-8"))
        return 0
    try:
        server = _Server((args.host, args.port), _pages(page))
    except (OSError, OverflowError) as error:
        sys.stderr.write(
            "benchd-exporter: cannot listen on %s:%d: %s\n" % (args.host, args.port, error)
        )
        return 1
    server.root = args.pid

    def stop(*_: Any) -> None:
        # Not in this thread: shutdown waits for the loop that it would interrupt.
        threading.Thread(target=server.shutdown, daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    sys.stdout.write("benchd-exporter: %s:%d\n" % (args.host, server.server_address[1]))
    sys.stdout.flush()
    server.serve_forever(poll_interval=0.5)
    server.server_close()
    return 0
