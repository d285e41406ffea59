"""The command line of the relay, and its work.

A program that reads an address once, at its start, is given one on its own node. Whoever connects
there is led to the service of the wanted kind that the file names at that moment.
"""

import argparse
import json
import os
import signal
import socket
import socketserver
import sys
import threading
from contextlib import suppress
from typing import List, NamedTuple, Optional, Tuple

from . import VERSION

# Seconds that a connection to the service may take to open.
_CONNECT = 10.0
_PIECE = 65536  # bytes that are passed on at once
# What is answered when there is no service: HTTP, since that is what is relayed.
_NOWHERE = (
    "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Connection: close\r\nContent-Length: %d\r\n\r\n%s"
)


class Line(NamedTuple):
    """One port here, and the kind of service that it stands for."""

    port: int
    kind: str


def address(path: str, kind: str) -> Optional[Tuple[str, int]]:
    """Return where the first service of a kind is, as the file says now."""
    try:
        with open(path, encoding="utf-8") as file:
            groups = json.load(file)
        for group in groups:
            if group["labels"].get("kind") == kind and group["targets"]:
                host, _, port = group["targets"][0].rpartition(":")
                return host.strip("[]"), int(port)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # not there yet, or not ours: the same as nowhere
    return None


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Leads every connection in a thread of its own."""

    daemon_threads = True
    allow_reuse_address = True
    kind = ""
    file = ""


class _Leading(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        """Connect to where the service is now, and pass everything on in both directions."""
        place = address(self.server.file, self.server.kind)
        if place is None:
            self._refuse("no %s is known yet" % self.server.kind)
            return
        try:
            far = socket.create_connection(place, timeout=_CONNECT)
        except OSError as error:
            self._refuse("%s at %s:%d: %s" % ((self.server.kind,) + place + (error,)))
            return
        with far:
            far.settimeout(None)
            back = threading.Thread(target=_pass_on, args=(far, self.request), daemon=True)
            back.start()
            _pass_on(self.request, far)
            back.join()

    def _refuse(self, why: str) -> None:
        self.request.settimeout(_CONNECT)
        with suppress(OSError):
            self.request.recv(_PIECE)  # else the answer would be lost with a reset
            self.request.sendall((_NOWHERE % (len(why), why)).encode("ascii", "replace"))


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while True:
            piece = source.recv(_PIECE)
            if not piece:
                break
            sink.sendall(piece)
    for end, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
        with suppress(OSError):
            end.shutdown(how)


def _line(text: str) -> Line:
    port, _, kind = text.partition("=")
    if not (port.isdigit() and int(port) < 65536 and kind):
        raise argparse.ArgumentTypeError("%r is not PORT=KIND" % text)
    return Line(int(port), kind)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchd-relay", description="Lead connections on this node to where a service is."
    )
    add = parser.add_argument
    add("lines", nargs="+", type=_line, metavar="PORT=KIND", help="port 0 picks a free one")
    add("--file", required=True, help="JSON list of services, as Prometheus reads it")
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--version", action="version", version="benchd-relay %s" % VERSION)
    return parser


def main(argv: Optional[List[str]] = None) -> int:
    """Lead until a signal comes or the caller is gone."""
    args = _parser().parse_args(argv)
    caller = os.getppid()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    for line in args.lines:
        try:
            server = _Server((args.host, line.port), _Leading)
        except OSError as error:
            sys.stderr.write(
                "benchd-relay: cannot listen on %s:%d: %s\n" % (args.host, line.port, error)
            )
            return 1
        server.kind, server.file = line.kind, args.file
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdout.write("benchd-relay: %s:%d\n" % (args.host, server.server_address[1]))
        sys.stdout.flush()
    while not stop.wait(1.0) and os.getppid() == caller:
        pass
    return 0
