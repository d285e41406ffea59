"""What an LLM server counted: whether its client received it, and how much was in its cache.

Where the names come from is said in ``benchd.ship.load.counters``. vLLM and SGLang count a prompt
as a whole, cached or not; llama.cpp counts what it computed of it, so prompts are not compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from benchd.catalog.readings import counters
from benchd.core import flags as limits
from benchd.core.numbers import flag
from benchd.core.results import Flag, Severity
from benchd.ship.load.counters import parse

_MADE = (
    "vllm:generation_tokens_total",
    "sglang:generation_tokens_total",
    "llamacpp:tokens_predicted_total",
)
# Tokens that were found, and what makes up all that were looked for; the first that a server has.
_CACHE = (
    ("vllm:prefix_cache_hits_total", ("vllm:prefix_cache_queries_total",)),
    ("vllm:gpu_prefix_cache_hits_total", ("vllm:gpu_prefix_cache_queries_total",)),
    ("sglang:cached_tokens_total", ("sglang:prompt_tokens_total",)),
    (
        "llamacpp:prompt_tokens_cached_total",
        ("llamacpp:prompt_tokens_cached_total", "llamacpp:prompt_tokens_total"),
    ),
)
Rows = list[dict[str, float]]


def noted(files: Mapping[str, bytes]) -> tuple[Rows, Rows]:
    """Return the counters that a wrapper has noted before and after."""
    pages = [files.get(f"result/metrics-{when}.txt", b"") for when in ("before", "after")]
    before, after = ([parse(page)] for page in pages)
    return before, after


def server_metrics(before: Rows, after: Rows) -> dict[str, JsonValue]:
    """Return the counters of all replicas; the growth tells the hit rate of the cache as well."""
    server = counters.of_targets(before, after)
    rate, delta = _hit_rate(server), server.get("delta")
    if rate is not None and isinstance(delta, dict):
        delta["prefix_cache_hit_rate"] = rate
    return server


def _hit_rate(server: Mapping[str, JsonValue]) -> float | None:
    for found, among in _CACHE:
        hits = counters.grown(server, found)
        asked = sum(counters.grown(server, name) or 0.0 for name in among)
        if hits is not None and asked:
            return hits / asked if 0 <= hits <= asked else None
    return None


def judged(
    client: str, before: Rows, after: Rows, received: int | None, *, slack: float
) -> Iterator[Flag]:
    """Judge the tokens that a client has received; None: it does not tell how many.

    ``slack`` is how many more the server may have made, for requests that nobody counts.
    """
    again = list(counters.restarted(before, after))
    if again or received is None:
        yield from again
        return
    server = counters.of_targets(before, after)
    made = [number for name in _MADE if (number := counters.grown(server, name)) is not None]
    yield from counters.judged(
        client,
        received,
        sum(made) if made else None,
        what="tokens of answers",
        slack=slack,
        code="token_mismatch",
        limit=limits.TOKENS,
    )


def cached(server: Mapping[str, JsonValue], said: float | None = None) -> Iterator[Flag]:
    """Say that new prompts were not new to the server; ``said``: the share that answers tell of."""
    rates = [rate for rate in (_hit_rate(server), said) if rate is not None]
    rate = max(rates, default=0.0)
    if rate > limits.CACHE_HITS:
        detail = f"{rate:.1%} of the prompts' tokens came from the server's prefix cache, though "
        detail += "every prompt was to be another one: what prompts share, such as a template?"
        yield flag(
            "cache_hit_rate", Severity.WARN, value=rate, limit=limits.CACHE_HITS, detail=detail
        )
