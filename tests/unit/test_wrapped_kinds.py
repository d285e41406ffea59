"""Kinds that run other people's tools: in whose image, at which rate, and what is refused."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from benchd.catalog import CATALOG
from benchd.core.origins import client_facts
from benchd.core.recipe import parse
from benchd.core.spec import Container
from benchd.errors import RecipeError
from support.builders import client, service
from support.recipe_cases import jobs_of

LLM = """\
name: llm
service:
  name: vllm
  container: {image_path: /images/vllm.sif, bind_mounts: ["/models:/models"]}
  parameters: {model: /models/m, served_model_name: m}
client:
  name: tool
  kind: KIND
  target_service: {name: vllm}
"""


def told(kind: str, more: str = "") -> tuple[str | None, dict[str, object]]:
    """Return the image and the parameters of the client that a recipe becomes."""
    job = next(j for j in jobs_of("r.yaml", LLM.replace("KIND", kind) + more) if j.name == "tool")
    box = job.spec.container
    return box.image_path if box else None, dict(job.spec.parameters)


def test_vllms_client_runs_in_the_image_of_its_service() -> None:
    """Without an image of its own it has that of the service; other tools do not."""
    fits = {"tokenizer": "/models/m", "model": "m", "api_key_env": "VLLM_API_KEY"}
    assert told("vllm-bench") == ("/images/vllm.sif", fits)
    own = "  container: {image_path: /images/own.sif}\n"
    assert told("vllm-bench", own) == ("/images/own.sif", fits)
    assert told("guidellm") == (None, fits)


@pytest.mark.parametrize(
    ("service_kind", "kind", "same"),
    [
        ("redis", "redis-benchmark", True),
        ("mysql", "mysqlslap", True),
        ("postgresql", "pgbench", True),
        ("redis", "memtier", False),
        ("mysql", "sysbench", False),
    ],
)
def test_a_tool_that_images_of_servers_have_runs_there(
    service_kind: str, kind: str, same: bool
) -> None:
    """A client without an image of its own has the service's, if that brings such tools along."""
    text = f"""\
name: r
service:
  name: {service_kind}
  container: {{image_path: /images/server.sif}}
  secrets: {{MYSQL_ROOT_PASSWORD: {{generate: 24}}, POSTGRES_PASSWORD: {{generate: 24}}}}
client: {{name: c, kind: {kind}, target_service: {{name: {service_kind}}}}}
"""
    (job,) = (each for each in jobs_of("r.yaml", text) if each.name == "c")
    assert (job.spec.container is not None) is same


REDIS = """\
name: r
service: {name: redis}
client:
  name: c
  kind: KIND
  target_service: {name: redis}
  parameters: {KEY}
"""


@pytest.mark.parametrize(
    ("kind", "key", "said"),
    [
        ("redis-benchmark", "rate: 100", "use kind: redis-load, which counts from the schedule"),
        ("memtier", "rate: 100", "use kind: redis-load, which counts from the schedule"),
        ("mysqlslap", "rate: 100", "use kind: sysbench"),
        ("vectordbbench", "rate: 100", "use kind: chroma-load"),
        ("memtier", "ratio: '0:0'", "0:0 asks for nothing at all"),
        ("memtier", "ratio: half", "does not look right"),
    ],
)
def test_what_a_tool_cannot_do_is_refused(kind: str, key: str, said: str) -> None:
    """A rate for a tool that only knows a closed loop is refused, with the kind that can."""
    text = REDIS.replace("KIND", kind).replace("KEY", key)
    with pytest.raises(RecipeError, match=said):
        parse(text.encode(), "r.yaml", CATALOG)


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("vllm-bench", "  duration: 60\n", "knows no time: use requests"),
        ("guidellm", "  duration: 60\n  parameters: {requests: 5}\n", "leave one of them out"),
        ("aiperf", "  duration: 60\n  parameters: {requests: 5}\n", "leave one of them out"),
        ("aiperf", "  parameters: {model: 'a\"b'}\n", "does not look right"),
        ("guidellm", "  command: taskset -c 0 guidellm\n", "write its options under args"),
    ],
)
def test_ends_that_contradict_are_refused(kind: str, more: str, said: str) -> None:
    """Two ends of one measurement, or an end that the tool does not know, are refused."""
    with pytest.raises(RecipeError, match=said):
        parse((LLM.replace("KIND", kind) + more).encode(), "r.yaml", CATALOG)


@pytest.mark.parametrize(
    ("found", "image", "expected", "used"),
    [
        ("host", "docker://a:1", "host", None),
        ("image", "docker://a:1", "service image", "docker://a:1"),
        ("image", "docker://b:1", "own image", "docker://b:1"),
        (None, "docker://a:1", None, "docker://a:1"),
    ],
)
def test_a_result_says_whose_image_the_tool_came_of(
    found: JsonValue, image: str, expected: JsonValue, used: JsonValue
) -> None:
    """The tool was in the image of the service, in one of its own, or on the host, in none."""
    script = "#!/bin/bash\nbenchd_image=/images/a.sif\n"
    mine = client(container=Container(docker_source=image), script=script)
    theirs = service(container=Container(docker_source="docker://a:1"))
    facts = client_facts(mine, [theirs], {}, {"source": found})
    assert (facts["source"], facts["image"]) == (expected, used)
