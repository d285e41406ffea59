"""What the numbers in a result are: the formula behind each id, in words. Data only.

Tools use one name for different formulas, so every number carries the id of its own. An id ends
with its version; when a formula changes, the version does, and the two are never compared. Per
request: ``scheduled`` is when it was to be sent, ``sent`` when its bytes went out, ``first`` and
``last`` are the arrivals of its first and last piece of content.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Formula(NamedTuple):
    """One number: its unit, which of more and less is better, and how it is made."""

    unit: str
    better: str
    says: str


_WINDOW = "over the measurement window; what failed is never in it"

FORMULAS: Mapping[str, Formula] = {
    "ttft_service": Formula("ms", "lower", "first - sent: time to first token; thinking counts"),
    "ttft_sched": Formula("ms", "lower", "first - scheduled: the same with the wait to be sent"),
    "ttfb": Formula("ms", "lower", "first byte of the response - sent; to find causes only"),
    "ttfo": Formula("ms", "lower", "first content that is no thinking - sent"),
    "tpot": Formula("ms", "lower", "(last - first) / (output tokens - 1), of two tokens and more"),
    "ntpot": Formula("ms", "lower", "(last - sent) / output tokens"),
    "icl": Formula("ms", "lower", "time between neighbouring chunks, of all requests together"),
    "itl": Formula(
        "ms",
        "lower",
        "the same where every answer has as many chunks as tokens, hence one token in each; else "
        "it is left out",
    ),
    "e2e_service": Formula("ms", "lower", "last - sent"),
    "e2e_sched": Formula("ms", "lower", "last - scheduled"),
    "latency_service": Formula("ms", "lower", "end of the answer - sent"),
    "latency_sched": Formula("ms", "lower", "end of the answer - scheduled"),
    "req_s": Formula("1/s", "higher", f"requests that succeeded, {_WINDOW}"),
    "ops_s": Formula("1/s", "higher", f"operations that succeeded, {_WINDOW}"),
    "docs_s": Formula("1/s", "higher", f"documents that were stored or found, {_WINDOW}"),
    "out_tok_s": Formula("tok/s", "higher", f"output tokens, {_WINDOW}"),
    "in_tok_s": Formula("tok/s", "higher", f"prompt tokens, {_WINDOW}"),
    "total_tok_s": Formula("tok/s", "higher", f"both together, {_WINDOW}"),
    "goodput": Formula("1/s", "higher", f"requests within every limit of the SLO, {_WINDOW}"),
    "slo_attainment": Formula("1", "higher", "requests within every limit / requests issued"),
    "peak_rate": Formula("1/s", "higher", "highest rate tried whose requests were good (99 %)"),
    "knee_rate": Formula("1/s", "higher", "rate from which on more load hardly gives more answers"),
    "ceiling_rate": Formula("1/s", "higher", "answers to many users who wait, over their step"),
    "recall_at_k": Formula("1", "higher", "share of the k true neighbours that were found"),
    "error_rate": Formula("1", "lower", "requests that failed / requests issued"),
    "concurrency": Formula("1", "", "requests under way, averaged over time"),
    "send_lag": Formula("ms", "lower", "sent - scheduled: how late the client itself was"),
    "elapsed_s": Formula("s", "lower", "wall time of the whole program"),
}
