"""Results as they are kept: written to fit their schema, and read again whatever is there.

A document in the books may be of another version of benchd, or broken. It is told as an invalid
result with the reason, so that neither a report nor the end of a run is lost with it.
"""

from __future__ import annotations

import json

from pydantic import JsonValue, ValidationError

from benchd.core.numbers import Flag, Severity, plain_object
from benchd.core.results import Result, Validity


def written(result: Result) -> str:
    """Return the document of a result; raise ``ValueError`` where it does not fit the schema."""
    document = result.document()
    Result.model_validate_json(document)
    return document


def reread(document: str, run: str) -> Result:
    """Return a result that was kept; an invalid one of what does not fit the schema."""
    try:
        return Result.model_validate_json(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(step) for step in first["loc"])
    what = f"{where}: {first['msg']}" if where else str(first["msg"])
    detail = f"the kept document does not fit the schema of this benchd: {what}"
    said = _fields(document)
    cell, repeat = said.get("cell"), said.get("repeat")
    return Result(
        id=str(said.get("id", "")),
        run=run,
        job=str(said.get("job", "")),
        cell=plain_object(cell) if isinstance(cell, dict) else {},
        repeat=repeat if isinstance(repeat, int) else 0,
        status="failed",
        validity=Validity(
            valid=False,
            flags=(Flag(code="malformed", severity=Severity.ERROR, detail=detail),),
        ),
    )


def _fields(document: str) -> dict[str, JsonValue]:
    try:
        value: JsonValue = json.loads(document)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
