"""A script of the user's: exit status, and every number in the JSON files that it left.

Names are the user's own: ``results.requests_per_second`` is what stands there under ``results``.
What describes the experiment (``config``, ``parameters`` ...) goes to the workload. Lists of raw
samples are left alone. What a script says about its own failures is believed: it is not valid
because it ended with status 0.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from pydantic import JsonValue

from benchd.catalog.readings import tools
from benchd.catalog.readings.command import command
from benchd.catalog.readings.text import last_line, text
from benchd.core.numbers import flag, is_finite
from benchd.core.results import Counts, Flag, Measured, Metric, Severity
from benchd.core.spec import JobSpec

MAX_METRICS = 200  # of one result, so that one file cannot fill the store
_LONGEST = 64  # characters of a metric's name
# Parts of a document that say what was done and not what came of it.
_CONDITIONS = re.compile(r"(.*_)?(config|configuration|metadata|parameters|parameter_ranges|args)")
# Parts that are samples of single requests, or text.
_RAW = re.compile(r"raw(_.*)?|samples|requests_log|stderr|stdout|response")
_UNITS = (
    (re.compile(r"(.*_)?ms"), "ms"),
    (re.compile(r"(.*_)?(s|sec|seconds|duration|total_time)"), "s"),
    (re.compile(r".*_per_(sec|second)"), "1/s"),
    (re.compile(r"(.*_)?(percent|pct)"), "%"),
    (re.compile(r"(.*_)?bytes"), "bytes"),
)
_SUBJECT = r"(_?(requests|clients|operations|queries|ops|transactions|count|total))?"
_GOOD = re.compile(rf"(successful|succeeded|success|ok){_SUBJECT}")
_BAD = re.compile(rf"(failed|failures|failure|errors|error){_SUBJECT}")
_VERDICT = re.compile(r"success|succeeded|ok|passed")
# What a script writes that caught its own failure and ended with status 0 all the same.
_ERROR = re.compile(r"errors?|error_messages?|exceptions?|traceback|failure_reason")
_NONE = re.compile(r"\s*(none|null|no|false|0|n/?a|-)?\s*", re.IGNORECASE)
_STATE = re.compile(r"status|state|outcome")
_FAILED = re.compile(r"fail(ed|ure)?|error(ed)?|time(d_)?out|aborted|crashed|killed", re.IGNORECASE)
_ALL_GOOD, _ALL_BAD = re.compile(r"(.*_)?success_rate"), re.compile(r"(.*_)?(error|failure)_rate")
# A rate of 1 or 100 percent: nobody knows which of them is meant, and either is all of it.
_ALL = (1, 100)


@dataclass(slots=True)
class _Found:
    """What one or more documents say."""

    metrics: dict[str, int | float] = field(default_factory=dict)
    conditions: dict[str, JsonValue] = field(default_factory=dict)
    good: dict[int, int] = field(default_factory=dict)  # by depth in the document
    bad: dict[int, int] = field(default_factory=dict)
    verdicts: list[bool] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    regrets: list[str] = field(default_factory=list)  # troubles, unless it counts what failed
    left_out: list[str] = field(default_factory=list)


def script(files: Mapping[str, bytes], spec: JobSpec) -> Measured:
    """Read exit status, wall time, and the numbers in the JSON files among the results."""
    base = command(files, spec)
    documents = {
        name.removeprefix("result/"): data
        for name, data in sorted(files.items())
        if name.startswith("result/")
        and name.endswith(".json")
        and not name.endswith("metrics.json")
    }
    found, flags = _Found(), list(base.flags)
    for name, data in documents.items():
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            flags.append(flag("bad_json", Severity.WARN, detail=f"{name} is no JSON"))
        else:
            _take(found, value, "")
    metrics = {**_metrics(found, flags), **base.metrics}
    last = last_line(text(files, "err"))
    flags += _doubts(found, spec, documents, last, has_metrics=len(metrics) > 1)
    is_partial = "result/benchd-time-is-up" in files
    return replace(
        base,
        metrics=metrics,
        counts=_counts(found, base.counts, flags),
        workload={"kind": "script", "conditions": found.conditions},
        flags=tuple(flags),
        client=_client(files, spec),
        partial=is_partial,
    )


def _client(files: Mapping[str, bytes], spec: JobSpec) -> dict[str, JsonValue]:
    """Return which script it was, by the hash of its text, and the program that ran it."""
    if spec.script is None:
        return {"tool": "script"}
    digest = hashlib.sha256((spec.script.text or "").encode()).hexdigest()
    ran = tools.place(files, "benchd-interpreter.txt")
    known = {"interpreter_version" if k == "tool_version" else k: v for k, v in ran.items() if v}
    return {"tool": spec.script.name, "sha256": digest, **known}


def _take(found: _Found, value: JsonValue, path: str) -> None:
    if isinstance(value, dict):
        _count(found, value, path.count(".") + bool(path))
        for key, inner in value.items():
            _member(found, key, inner, f"{path}.{_slug(key)}" if path else _slug(key))
    elif isinstance(value, list):
        _list(found, value, path)
    elif path and isinstance(value, int | float) and not isinstance(value, bool):
        found.metrics.setdefault(path, value)


def _member(found: _Found, key: str, inner: JsonValue, path: str) -> None:
    name = _slug(key)
    if _CONDITIONS.fullmatch(name):
        found.conditions.setdefault(path, inner)
        return
    if isinstance(inner, bool):
        if _VERDICT.fullmatch(name):
            found.verdicts.append(inner)
        elif inner and name == "timed_out":
            found.troubles.append(f"{path} is true")
    elif name in ("returncode", "return_code", "exit_status") and inner not in (0, None):
        found.troubles.append(f"{path} is {str(inner)[:20]}")
    elif _is_failure(name, inner):
        found.troubles.append(f"{path} is {_shown(inner)}")
    elif _RAW.fullmatch(name) or name in ("timestamp", "returncode", "return_code", "exit_status"):
        return
    else:
        if _ERROR.fullmatch(name) and (number := _entries(inner)):
            found.regrets.append(f"{path} has {number} entries")
        elif _says_all_failed(name, inner):
            found.regrets.append(f"{path} is {inner}")
        _take(found, inner, path)


def _is_failure(name: str, value: JsonValue) -> bool:
    """Tell whether a text says that the whole of it failed."""
    if not isinstance(value, str):
        return False
    if _STATE.fullmatch(name):
        return _FAILED.fullmatch(_slug(value)) is not None
    return _ERROR.fullmatch(name) is not None and _NONE.fullmatch(value) is None


def _entries(value: JsonValue) -> int:
    """Return how many members of a list or an object are neither empty nor 0."""
    if isinstance(value, dict):
        return sum(map(bool, value.values()))
    return len(value) if isinstance(value, list) else 0


def _says_all_failed(name: str, value: JsonValue) -> bool:
    """Tell whether a rate says that nothing went well."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if _ALL_GOOD.fullmatch(name):
        return value == 0
    return _ALL_BAD.fullmatch(name) is not None and value in _ALL


def _shown(value: JsonValue) -> str:
    """Return the beginning of a text, in one line."""
    return repr("".join(c for c in " ".join(str(value).split()) if c.isprintable())[:80])


def _list(found: _Found, items: list[JsonValue], path: str) -> None:
    """Read a list of named things; of a list of samples only who succeeded."""
    members = [item for item in items if isinstance(item, dict)]
    names = [_label(item) for item in members]
    if members and all(names) and len(set(names)) == len(names):
        for name, item in zip(names, members, strict=True):
            _take(found, item, f"{path}.{name}" if path else name)
        return
    for item in members:
        for key, inner in item.items():
            if isinstance(inner, bool) and _VERDICT.fullmatch(_slug(key)):
                found.verdicts.append(inner)
    if items:
        found.left_out.append(f"{path or 'the document'} (a list of {len(items)})")


def _label(item: Mapping[str, JsonValue]) -> str:
    """Return what a member of a list is called: its operation, test or name, or its parameters."""
    for key in ("operation", "test", "name", "label"):
        if isinstance(value := item.get(key), str) and value:
            return _slug(value)
    told = item.get("parameters")
    values = told.values() if isinstance(told, dict) else ()
    return "_".join(_slug(str(value)) for value in values if not isinstance(value, dict | list))


def _slug(key: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", key.lower()).strip("_") or "value"


def _count(found: _Found, document: Mapping[str, JsonValue], depth: int) -> None:
    """Add what a document says about how often something succeeded and failed."""
    for key, value in document.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
            continue
        name = _slug(key)
        for pattern, counts in ((_GOOD, found.good), (_BAD, found.bad)):
            if pattern.fullmatch(name):
                counts[depth] = counts.get(depth, 0) + value


def _told(found: _Found) -> tuple[int, int]:
    """Return how often something succeeded and failed: a sum is not added to what it is of.

    What stands further out is the sum; but no failure is lost that is told only further in.
    """
    good = next((found.good[depth] for depth in sorted(found.good) if found.good[depth]), 0)
    return good, max(found.bad.values(), default=0)


def _metrics(found: _Found, flags: list[Flag]) -> dict[str, Metric]:
    metrics: dict[str, Metric] = {}
    dropped = 0
    for path, value in found.metrics.items():
        name = path if path[:1].isalpha() else f"n_{path}"
        odd = not is_finite(value) or len(name) > _LONGEST or name == "elapsed_s"
        if odd or len(metrics) >= MAX_METRICS:
            dropped += 1
            continue
        last = name.rpartition(".")[2]
        unit = next((unit for pattern, unit in _UNITS if pattern.fullmatch(last)), "")
        metrics[name] = Metric(formula=f"{name}/own", unit=unit, value=value)
    if dropped:
        detail = (
            f"numbers beyond {MAX_METRICS}, too large, or with names of over {_LONGEST} letters"
        )
        flags.append(
            flag("metrics_left_out", Severity.WARN, value=dropped, limit=MAX_METRICS, detail=detail)
        )
    return metrics


def _counts(found: _Found, base: Counts, flags: list[Flag]) -> Counts:
    """Return the counts that the script tells; those of its exit status when it tells none."""
    good, bad = _told(found)
    if not good and not bad:
        good, bad = sum(found.verdicts), len(found.verdicts) - sum(found.verdicts)
    if not good and not bad:
        return base
    if base.errors or base.cancelled:  # it failed as a whole, whatever it says about its parts
        detail = "the script tells of work that was done, and failed all the same"
        flags.append(flag("failed_after_work", Severity.INFO, detail=detail))
    return Counts(
        scheduled=good + bad,
        issued=good + bad,
        ok=good,
        errors=bad,
        dropped=0,
        cancelled=0,
        by_class={"reported_by_script": bad} if bad else {},
        first_errors=base.first_errors,
    )


def _doubts(
    found: _Found, spec: JobSpec, documents: Mapping[str, bytes], last: str, *, has_metrics: bool
) -> Iterator[Flag]:
    """Yield why the numbers may be no measurement."""
    regrets = found.regrets if not (any(_told(found)) or found.verdicts) else []
    for what in [*found.troubles, *regrets][:3]:
        yield flag("reported_failure", Severity.ERROR, detail=f"the script says that {what}")
    output = spec.output.file if spec.output is not None else None
    wanted = output or spec.parameters.get("output_file")
    if wanted and not documents:
        detail = f"no metrics: the script left no JSON, but {wanted!s} was to be written"
        detail += f"; the last line on standard error: {last}" if last else ""
        yield flag("no_output", Severity.ERROR, detail=detail)
    elif documents and not has_metrics:
        yield flag("no_metrics", Severity.ERROR, detail="no metrics: no number in what it left")
    elif not documents and not has_metrics:
        detail = "no metrics but exit status and time: the script left no JSON in its directory"
        yield flag("no_metrics", Severity.WARN, detail=detail)
    if found.left_out:
        detail = f"not made into metrics: {', '.join(found.left_out[:3])}; the file has them"
        yield flag("lists_left_alone", Severity.INFO, value=len(found.left_out), detail=detail)
