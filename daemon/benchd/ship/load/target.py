"""The URL of the service under load, taken apart once."""

from typing import List, NamedTuple
from urllib.parse import urlsplit


class Usage(Exception):
    """The command line cannot mean anything: exit status 2."""


class Target(NamedTuple):
    """Where requests go. Proxies in the environment are not asked: they would be measured too."""

    host: str
    port: int
    base: str
    tls: bool

    @property
    def authority(self) -> str:
        """Return what the Host header says."""
        host = "[%s]" % self.host if ":" in self.host else self.host
        return "%s:%d" % (host, self.port)

    @property
    def url(self) -> str:
        """Return the URL without a path of an interface."""
        return "%s://%s%s" % ("https" if self.tls else "http", self.authority, self.base)


def parse_all(urls: str, scheme: str = "http") -> List[Target]:
    """Return the targets of URLs with commas between them, or raise ``Usage``."""
    found = [parse(url, scheme) for url in urls.split(",")]
    if len(set(found)) < len(found):
        raise Usage("--url names the same address twice")
    return found


def parse(url: str, scheme: str = "http") -> Target:
    """Return the target of a URL, or raise ``Usage``; ``scheme``: what is proposed then."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Usage("--url %r is no URL: %s" % (url, error)) from None
    if parts.scheme not in ("http", "https", "redis") or not parts.hostname:
        raise Usage("--url %r: write it as %s://host:port" % (url, scheme))
    if parts.username or parts.password or parts.query or parts.fragment:
        raise Usage("--url takes a host, a port and a path, nothing else")
    base = parts.path.rstrip("/")
    # People paste the base URL of an OpenAI client, which ends in /v1: the paths bring their own.
    if base.endswith("/v1"):
        base = base[: -len("/v1")]
    tls = parts.scheme == "https"
    usual = {"http": 80, "https": 443, "redis": 6379}[parts.scheme]
    return Target(parts.hostname, port or usual, base, tls)
