"""Small answers, read whole: what a service says of itself before and after the load."""

import asyncio
import json
from typing import Any, Dict, List, NamedTuple, Optional

from . import counters, http1
from .target import Target
from .work import NotReady

# Seconds within which a service that is up answers a question about itself.
_TIMEOUT = 10.0
# Counters are read until they rest: so often at most, so many seconds apart. A server may count the
# end of an answer a moment after it has sent it.
_LOOKS = 10
_REST = 0.05


class Page(http1.Exchange):
    """A small answer, read whole."""

    # Bytes of it that are read.
    limit = 4 * 1024 * 1024

    def __init__(self, done: "asyncio.Future[None]") -> None:
        http1.Exchange.__init__(self, done)
        self.data = b""
        self.problem = ""

    def body(self, now: float, piece: bytes) -> None:
        """Collect."""
        self.data = (self.data + piece)[: self.limit]

    def ended(self, now: float, how: Optional[str], detail: str) -> None:
        """Note how it ended."""
        self.problem = "%s: %s" % (how, detail) if how else ""


class Said(NamedTuple):
    """What came back."""

    status: int
    data: bytes

    def json(self) -> Any:
        """Return the value in it, or None when it is none."""
        try:
            return json.loads(self.data.decode("utf-8"))
        except (ValueError, RecursionError):
            return None

    def text(self) -> str:
        """Return the beginning of it for a message."""
        return self.data[:300].decode("utf-8", "replace").strip()


async def fetch(
    target: Target,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Optional[Dict[str, str]] = None,
) -> Said:
    """Ask once, on a connection of its own; raise ``NotReady`` when nothing comes back."""
    where = "%s %s%s" % (method, target.url, path)
    try:
        connection = await http1.connect(target, _TIMEOUT)
    except OSError as error:
        message = "nothing answers at %s: %s; is the service running, are host and port right?"
        raise NotReady(message % (target.url, error)) from None
    page = Page(asyncio.get_event_loop().create_future())
    try:
        connection.send(http1.request(target, method, path, body, headers=headers), page)
        await asyncio.wait_for(page.done, _TIMEOUT)
    except asyncio.TimeoutError:
        raise NotReady("%s: no answer within %g s" % (where, _TIMEOUT)) from None
    finally:
        connection.close()
    if page.problem:
        raise NotReady("%s: %s" % (where, page.problem))
    return Said(page.response.status, page.data)


async def counted(
    targets: List[Target], headers: Optional[Dict[str, str]]
) -> List[Dict[str, float]]:
    """Return what each server has counted; nothing of one that does not say."""
    return [await _counted(target, headers) for target in targets]


async def _counted(target: Target, headers: Optional[Dict[str, str]]) -> Dict[str, float]:
    seen: Dict[str, float] = {}
    for _ in range(_LOOKS):
        try:
            said = await fetch(target, "GET", "/metrics", headers=headers)
        except NotReady:
            return {}
        before, seen = seen, counters.parse(said.data) if said.status == 200 else {}
        if seen == before:
            break
        await asyncio.sleep(_REST)
    return seen
