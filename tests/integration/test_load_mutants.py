"""Mistakes that other load generators make, made on purpose: each must be noticed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.truth import SHIP
from support.truth_checks import CHECKS

# What is wrong: file, what is written there, what the mistake would be, the check that sees it.
MUTANTS = {
    "stamp after parsing": (
        "llm.py",
        "        sample = self.sample\n        if sample.last == now:",
        (
            "        import time\n        now = time.monotonic()\n        sample = self.sample\n"
            "        if sample.last == now:"
        ),
        "parsing",
    ),
    "failures left out of the attainment": (
        "quality.py",
        "len(good) / float(len(tried))",
        "len(good) / float(len([s for s in tried if s.ok]))",
        "fast_failures",
    ),
    "issued for successful": (
        "tokens.py",
        'rate_of("req_s", "1/s", good, tried)',
        'rate_of("req_s", "1/s", tried, tried)',
        "fast_failures",
    ),
    "latencies of failures": (
        "work.py",
        "good = sorted((s for s in samples if s.ok)",
        "good = sorted((s for s in samples if s.end)",
        "errors",
    ),
    "averaged percentiles": (
        "summary.py",
        "key: percentile(ordered, float(key)) if",
        (
            "key: sum(percentile(sorted(x * 1000.0 for x in samples[n::2]), float(key))"
            " for n in (0, 1)) / 2.0 if"
        ),
        "pooled",
    ),
    "warm-up measured": (
        "run.py",
        "samples = what.samples if what else []",
        "samples = (self.warmup.samples if self.warmup else []) + (what.samples if what else [])",
        "warmup",
    ),
    "the same prompts again": (
        "prompts.py",
        '"%s/%d/%s/%d" % (self.run_id, self.seed, phase, index)',
        '"%s/%d/%d" % (self.run_id, self.seed, index)',
        "warmup",
    ),
    "relative sleeps": (
        "opened.py",
        "            if pause > 0:\n                await asyncio.sleep(pause)",
        (
            "            before = (phase.plan or [])[index - 1] if index else 0.0\n"
            "            await asyncio.sleep(offset - before)"
        ),
        "rate",
    ),
    "arrivals wait for answers": (
        "opened.py",
        "            self._arrive(phase, index, due)",
        (
            "            while len(self._tasks) >= 2:\n                await asyncio.sleep(0.001)\n"
            "            self._arrive(phase, index, time.monotonic())"
        ),
        "stall",
    ),
    "arrivals wait, their times stay": (
        "opened.py",
        "            self._arrive(phase, index, due)",
        (
            "            while len(self._tasks) >= 8:\n                await asyncio.sleep(0.001)\n"
            "            self._arrive(phase, index, due)"
        ),
        "cap",
    ),
    "dropped counted as sent": (
        "summary.py",
        's.status == "connect"]',
        's.status in ("connect", "dropped")]',
        "dropped",
    ),
    "a role is a token": (
        "streams.py",
        'content = bool(delta.get("content") or delta.get("tool_calls"))',
        'content = "content" in delta or "role" in delta',
        "chunks",
    ),
    "a chunk is a token": ("llm.py", "sample.tokens = piece.tokens", "pass", "chunks"),
    "an error in mid-stream is a success": (
        "llm.py",
        'self.sample.fail("stream_error", piece.error)',
        "pass",
        "errors",
    ),
    "a cut answer is a success": (
        "llm.py",
        'self.sample.fail("truncated", "the answer ended without %s" % marker)',
        "pass",
        "errors",
    ),
    "steps put together": (
        "saturate.py",
        "        found = self._stepless()\n        opened",
        "        found = self.workload.metrics(self.every)\n        opened",
        "saturation",
    ),
    "each process its own arrivals": (
        "driving.py",
        "plan[part.place :: part.total]",
        "plan[: len(plan) // part.total]",
        "share",
    ),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("name", MUTANTS)
async def test_mistakes_are_noticed(name: str, tmp_path: Path) -> None:
    """A load generator with a mistake in it does not stand the test of truth."""
    file, right, wrong, check = MUTANTS[name]
    shutil.copytree(SHIP / "load", tmp_path / "load")
    path = tmp_path / "load" / file
    text = path.read_text()
    assert text.count(right) == 1
    path.write_text(text.replace(right, wrong))
    with pytest.raises(AssertionError):
        await CHECKS[check](tmp_path, tmp_path / "out")
