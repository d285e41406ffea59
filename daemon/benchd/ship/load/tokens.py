"""Requests to an LLM server: what is recorded of one, and what is made of all of them."""

import random
from array import array
from typing import List, Optional, Sequence

from . import summary, work
from .work import Json, moment, since

# Gaps between chunks that are kept; of more, a uniform sample (8 bytes each: 8 MB).
_KEPT_GAPS = 1000000


class Sample(work.Sample):
    """One request for a stream of tokens."""

    __slots__ = (
        "cached", "chunks", "estimated", "events", "finish", "first", "first_out", "gaps", "last",
        "prompt_tokens", "tokens",
    )  # fmt: skip

    def __init__(self, phase: str, index: int, user: int, scheduled: float) -> None:
        work.Sample.__init__(self, phase, index, user, scheduled)
        self.first: Optional[float] = None
        self.first_out: Optional[float] = None
        self.last: Optional[float] = None
        self.chunks = 0
        self.events = 0
        self.tokens: Optional[int] = None
        self.prompt_tokens: Optional[int] = None
        self.cached: Optional[int] = None
        self.estimated = False
        self.finish: Optional[str] = None
        self.gaps: Optional[Sequence[float]] = None  # between its chunks, if they are to be kept

    @property
    def answer_began(self) -> Optional[float]:
        """When the first token came."""
        return self.first

    @property
    def amount(self) -> int:
        """Tokens."""
        return self.tokens or 0

    def line(self, zero: float) -> Json:
        """Return the line of samples.jsonl."""
        line = work.Sample.line(self, zero)
        line.update(
            first=since(zero, self.first),
            first_out=since(zero, self.first_out),
            last=since(zero, self.last),
            m=self.chunks,
            events=self.events,
            n_out=self.tokens,
            n_in=self.prompt_tokens,
            cached=self.cached,
            est=self.estimated,
            finish=self.finish,
        )
        if self.gaps is not None:
            line["gaps_us"] = [int(round(gap * 1e6)) for gap in self.gaps]
        return line

    def restore(self, line: Json, shift: float) -> None:
        """Take over what a line of samples.jsonl says."""
        work.Sample.restore(self, line, shift)
        self.first = moment(line["first"], shift)
        self.first_out = moment(line["first_out"], shift)
        self.last = moment(line["last"], shift)
        self.chunks = line["m"]
        self.events = line["events"]
        self.tokens = line["n_out"]
        self.prompt_tokens = line["n_in"]
        self.cached = line["cached"]
        self.estimated = line["est"]
        self.finish = line["finish"]


class Gaps:
    """Times between chunks, all of them or a uniform sample."""

    def __init__(self) -> None:
        self.kept: List[float] = []
        self.seen = 0
        self._draw = random.Random(0)  # noqa: S311 - which gaps are kept is no secret

    def add(self, gaps: Sequence[float]) -> None:
        """Take the gaps of one answer."""
        for gap in gaps:
            self.seen += 1
            if len(self.kept) < _KEPT_GAPS:
                self.kept.append(gap)
            else:
                place = int(self._draw.random() * self.seen)
                if place < _KEPT_GAPS:
                    self.kept[place] = gap

    def write(self, path: str) -> None:
        """Leave them to another process: how many there were, and those that were kept."""
        with open(path, "wb") as file:
            array("d", [float(self.seen)] + self.kept).tofile(file)

    def take(self, path: str) -> None:
        """Add those of another process; where there are too many, of both in proportion."""
        with open(path, "rb") as file:
            numbers = array("d", file.read())
        seen, kept = int(numbers[0]), list(numbers[1:])
        total = self.seen + seen
        if total > _KEPT_GAPS:
            mine = _KEPT_GAPS * self.seen // total
            self.kept = self._draw.sample(self.kept, min(mine, len(self.kept)))
            kept = self._draw.sample(kept, min(_KEPT_GAPS - mine, len(kept)))
        self.kept += kept
        self.seen = total


def quantities(is_open: bool) -> work.Quantities:
    """Return the times of one request; those from its schedule exist only in an open loop."""
    found: work.Quantities = {
        "ttft_service": lambda s: _span(s.sent, s.first),
        "ttfo": lambda s: _span(s.sent, s.first_out),
        "e2e_service": lambda s: _span(s.sent, s.last),
        "tpot": tpot,
        "ntpot": ntpot,
    }
    if is_open:
        found["ttft_sched"] = lambda s: _span(s.scheduled, s.first)
        found["e2e_sched"] = lambda s: _span(s.scheduled, s.last)
    return found


def metrics(workload: work.Workload, samples: Sequence[Sample], gaps: Gaps) -> Json:
    """Return every metric of the measured requests; latencies are those of successes."""
    good = [s for s in samples if s.ok]
    tried = summary.issued(samples)
    found = workload.distributions(samples)
    found["icl"] = summary.distribution("icl", gaps.kept, gaps.seen)
    # A chunk holds one token at least; so where there are as many, each holds exactly one.
    if good and all(s.chunks == s.tokens and not s.estimated for s in good):
        found["itl"] = dict(found["icl"], formula="itl/v1")
    found["req_s"] = summary.rate_of("req_s", "1/s", good, tried)
    found["out_tok_s"] = summary.rate_of("out_tok_s", "tok/s", good, tried, lambda s: int(s.amount))
    found["error_rate"] = summary.error_rate(samples)
    return found


def _span(start: Optional[float], end: Optional[float]) -> Optional[float]:
    return None if start is None or end is None else end - start


def tpot(sample: Sample) -> Optional[float]:
    """Return the time for each token after the first; one chunk tells nothing about it."""
    if sample.last is None or sample.first is None or sample.tokens is None:
        return None
    if sample.tokens < 2 or sample.chunks < 2:
        return None
    return (sample.last - sample.first) / (sample.tokens - 1)


def ntpot(sample: Sample) -> Optional[float]:
    """Return the time of the whole answer for each of its tokens."""
    whole = _span(sample.sent, sample.last)
    return whole / sample.tokens if whole is not None and sample.tokens else None


def cached_share(good: Sequence[Sample], unsaid: Optional[int]) -> Optional[float]:
    """Return which share of the prompts' tokens came from a cache, as answers say it.

    OpenAI's usage has ``prompt_tokens_details.cached_tokens``, newer Ollamas have
    ``prompt_eval_cached_count``. ``unsaid`` is the length of a prompt that an answer says nothing
    of: before its pull request 5371 Ollama left it out when all of the prompt was cached. vLLM
    tells only what is not 0.
    """
    size = 0
    told = []
    for sample in good:
        tokens, known = sample.prompt_tokens, sample.cached
        if not tokens and unsaid:
            tokens = known = unsaid
        size += tokens or 0
        if known is not None:
            told.append(known)
    return sum(told) / float(size) if size and told else None
