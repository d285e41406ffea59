"""Before any load: does it answer, which model, and how many words make a token."""

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional

from . import http1
from .pages import Page
from .target import Target
from .tokens import Sample
from .work import NotReady

if TYPE_CHECKING:
    from .llm import Workload

# Seconds within which a service that is up says which models it has.
_TIMEOUT = 10.0
# Calibration stops when prompts are this close to the wanted length, and after so many requests.
_CLOSE_ENOUGH = 0.02
_ROUNDS = 3


class Found(NamedTuple):
    """What the service says of itself."""

    models: List[str]
    server: str


async def look(target: Target, ollama: bool, headers: Optional[Dict[str, str]] = None) -> Found:
    """Ask for the list of models; a server without one still answers."""
    path = "/api/tags" if ollama else "/v1/models"
    try:
        connection = await http1.connect(target, _TIMEOUT)
    except OSError as error:
        message = "nothing answers at %s: %s; is the service running, are host and port right?"
        raise NotReady(message % (target.url, error)) from None
    page = Page(asyncio.get_event_loop().create_future())
    try:
        connection.send(http1.request(target, "GET", path, headers=headers), page)
        await asyncio.wait_for(page.done, _TIMEOUT)
    except asyncio.TimeoutError:
        message = "%s accepts connections but did not answer GET %s within %g s"
        raise NotReady(message % (target.url, path, _TIMEOUT)) from None
    finally:
        connection.close()
    if page.problem:
        message = "%s did not answer GET %s: %s; is it an LLM server?"
        raise NotReady(message % (target.url, path, page.problem))
    if page.response.status in (401, 403):
        message = "%s wants %s key (%d): name the variable that holds it with --api-key-env"
        which = "another" if headers else "a"
        raise NotReady(message % (target.url, which, page.response.status))
    names = _names(page.data, ollama) if page.response.status == 200 else []
    return Found(names, page.response.headers.get("server", ""))


def _names(data: bytes, ollama: bool) -> List[str]:
    try:
        value: Any = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return []
    entries = value.get("models" if ollama else "data") if isinstance(value, dict) else None
    names = [
        entry.get("name" if ollama else "id")
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict)
    ]
    return [name for name in names if isinstance(name, str)]


def choose_model(wanted: str, found: Found, url: str) -> str:
    """Return the model to ask for; without a wish, the one that the server lists."""
    if wanted:
        return wanted
    if not found.models:
        raise NotReady("%s does not list its models: say which one with --model" % url)
    if len(found.models) > 1:
        names = ", ".join(found.models[:10])
        raise NotReady("%s has several models (%s): choose one with --model" % (url, names))
    return found.models[0]


def is_listed(model: str, found: Found) -> Optional[bool]:
    """Return whether the server lists a model; None when it lists none at all."""
    if not found.models:
        return None
    return model in found.models or model + ":latest" in found.models


async def calibrate(workload: "Workload", samples: List[Sample]) -> Dict[str, Any]:
    """Find how many words give prompts of the wanted number of tokens, with very short answers.

    Servers differ in tokenizer and template, and none has to be downloaded this way. A server that
    does not say how long a prompt was leaves the number of words at that of tokens.
    """
    wanted = workload.options.prompt_tokens
    words = wanted
    got = None
    for round_ in range(_ROUNDS):
        workload.with_words(words)
        sample = Sample("calibrate", round_, 0, time.monotonic())
        samples.append(sample)
        try:
            connection = await http1.connect(workload.target, _TIMEOUT)
        except OSError as error:
            sample.status, sample.error = "connect", str(error)
            break
        try:
            # Without ignore_eos: one token is all that is wanted here.
            await workload.ask(connection, sample, 1)
        finally:
            connection.close()
        got = sample.prompt_tokens
        if not sample.ok or not got or abs(got - wanted) <= _CLOSE_ENOUGH * wanted:
            break
        words = max(1, int(round(words * wanted / float(got))))
    workload.with_words(words)
    return {"words": words, "tokens": got}
