"""Files of other projects become recipes, and what stays behind is named with its line."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest
import yaml

from benchd.catalog import CATALOG
from benchd.core.import_forms import FORMS
from benchd.core.imports import Imported, convert
from benchd.core.recipe import parse
from benchd.errors import UserError


def imported(text: str, file: str = "theirs.yaml") -> Imported:
    """Return what comes of a text; every recipe of it is one that would be accepted."""
    found = convert(dedent(text).encode(), file, CATALOG, FORMS)
    for name, recipe in found.recipes.items():
        parse(yaml.safe_dump(recipe).encode(), f"{name}.yaml", CATALOG)
    return found


LIST = """\
benchmark: {name: all, duration: 3600}
services:
  - service_name: vllm-opt
    service_type: vllm
    container_image: docker://vllm/vllm-openai:latest
    port: 8000
    client_count: 5
    requests_per_second: 20
    duration: 300
    slurm: {partition: gpu, account: p1, time: "01:00:00", gres: "gpu:1"}
    model: facebook/opt-125m
  - service_name: files
    service_type: file_storage
    base_path: /tmp/x
  - service_name: postgresql
    service_type: database
    backend: postgresql
    user: postgres
    password: benchmark
    client_count: 20
    operation_mix: {select: 0.4, insert: 0.6}
"""
TIMED = """\
services:
  - {service_name: cache, service_type: database, backend: redis, duration: 300}
"""
WHOLE = """\
meta: {name: whole-thing, author: somebody}
services:
  - id: vllm-01
    role: inference-server
    executor: {type: process}
    command: |
      apptainer exec --nv docker://vllm/vllm-openai:v0.6 \\
        python3 -m vllm.entrypoints.openai.api_server --model "facebook/opt-125m" \\
        --port "${PORT}" --gpu-memory-utilization 0.8
    healthcheck: {type: http, url: "http://127.0.0.1:8000/health", interval: 10, timeout: 600}
clients:
  - id: loadgen
    type: vllm-inference
    instances: 2
    executor: {type: workload}
    workload:
      type: vllm-inference
      mode: completion
      endpoint: http://127.0.0.1:8000/v1/completions
      duration_sec: 300
      concurrency: 4
      max_tokens: 128
      prompt: Explain.
    retries: {attempts: 3, backoff: 10}
reporting: {outputs: []}
"""
TYPED = """\
service:
  name: redis-stress
  type: redis
  partition: cpu
  num_gpus: 0
  time_limit: "01:00:00"
  settings: {port: 6379, maxmemory: 4gb}
client:
  type: redis_stress
  time_limit: "00:50:00"
  settings: {num_requests: 10000, key_size_bytes: 32}
benchmarks: {num_clients: 4}
"""
FLAT_CLIENT = """\
name: vllm-stress
target: {service: vllm-server, protocol: http, timeout_seconds: 600}
workload: {pattern: closed-loop, duration_seconds: 900, concurrent_users: 128, think_time_ms: 10}
dataset:
  type: synthetic
  params: {service_type: vllm, model_name: m, prompt_length: 512, max_tokens: 9, temperature: 1}
orchestration: {mode: slurm, instances: 1, resources: {cpu_cores: 64, memory_gb: 128}}
"""
FLAT_SERVICE = """\
name: vllm-llm
image: docker://vllm/vllm-openai:latest
resources: {cpu_cores: 8, memory_gb: 64, gpu_count: 1, disk_gb: 100}
ports: [{container_port: 8000, host_port: 8000, protocol: tcp}]
environment: {VLLM_PORT: "8000", HF_HOME: /cache}
healthcheck: {endpoint: /health, interval_seconds: 15, timeout_seconds: 10, initial_delay: 60}
command: [/bin/bash, -c, "python3 -m vllm --model mistral --max-model-len 8192"]
"""
REPLICAS = """\
name: vllm-replicas
image: vllm.sif
environment: {VLLM_MODEL: qwen, VLLM_LOGGING_LEVEL: INFO}
resources: {nodes: "2", cpu: "8", memory: 64Gi, time_limit: 30, gpu: "4"}
gpu_per_replica: 2
base_port: 8001
"""
JOB = """\
{"job": {"name": "first run",
  "infrastructure": {"partition": "gpu", "mem_gb": 64, "time": "01:00:00"},
  "service": {"type": "inference", "model": "llama2", "precision": "fp16",
              "n_clients": 10, "n_requests_per_client": 7}}}
"""
REGISTRY = """\
ollama:
  script: services/run.sh
  health_check: ollama
  default_params: {OLLAMA_MODEL: "qwen3:0.6b", partition: gpu, time: "01:00:00"}
"""


REDIS = """\
name: redis-cache
image: docker://redis:7-alpine
healthcheck: {endpoint: /, interval_seconds: 5, retries: 10}
"""
SERVED = """\
services:
  - {id: one, command: "vllm serve facebook/opt-125m --max-model-len 1024"}
"""
STORE = """\
services:
  - {service_name: store, service_type: s3, secret_key: hello}
"""


def value(recipes: dict[str, Any], path: str) -> Any:
    """Return what stands at a dotted path of the recipes, with numbers for items of lists."""
    here: Any = recipes
    for step in path.split("/"):
        here = here[int(step)] if isinstance(here, list) else here[step]
    return here


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LIST, {"vllm-opt/service/kind": "vllm", "vllm-opt/service/ports/0": 8000}),
        (LIST, {"vllm-opt/client/duration": 300}),
        (
            LIST,
            {
                "vllm-opt/client/parameters": {
                    "rate": 20,
                    "load": "constant",
                    "model": "facebook/opt-125m",
                }
            },
        ),
        (LIST, {"vllm-opt/service/resources/gres": "gpu:1"}),
        (LIST, {"vllm-opt/client/resources/account": "p1"}),
        (LIST, {"postgresql/service/secrets/POSTGRES_PASSWORD/generate": 24}),
        (LIST, {"postgresql/client/kind": "pgbench", "postgresql/client/parameters/clients": 20}),
        (WHOLE, {"whole-thing/services/0/parameters/gpu_memory_utilization": 0.8}),
        (WHOLE, {"whole-thing/services/0/parameters/model": "facebook/opt-125m"}),
        (
            WHOLE,
            {"whole-thing/services/0/container/docker_source": "docker://vllm/vllm-openai:v0.6"},
        ),
        (WHOLE, {"whole-thing/services/0/health_check/endpoint": "/health"}),
        (WHOLE, {"whole-thing/limits/ready": "600s"}),
        (WHOLE, {"whole-thing/clients/0/parameters/concurrency": 8}),
        (WHOLE, {"whole-thing/clients/0/target_service/name": "vllm-01"}),
        (WHOLE, {"whole-thing/clients/0/restart/max_attempts": 3}),
        (TYPED, {"theirs/service/kind": "redis", "theirs/service/parameters/maxmemory": "4gb"}),
        (TIMED, {"cache/client/kind": "redis-benchmark"}),
        (TYPED, {"theirs/client/parameters/requests": 10000}),
        (TYPED, {"theirs/client/parameters/clients": 4}),
        (TYPED, {"theirs/client/resources/time": "00:50:00"}),
        (FLAT_CLIENT, {"vllm-stress/client/target_service/name": "vllm-server"}),
        (FLAT_CLIENT, {"vllm-stress/client/parameters/prompt_tokens": 512}),
        (FLAT_CLIENT, {"vllm-stress/client/parameters/timeout": 600}),
        (FLAT_CLIENT, {"vllm-stress/client/parameters/think_time": 0.01}),
        (FLAT_CLIENT, {"vllm-stress/client/resources/mem": "128G"}),
        (FLAT_SERVICE, {"vllm-llm/service/parameters/max_model_len": 8192}),
        (FLAT_SERVICE, {"vllm-llm/service/health_check/start_period": 60}),
        (FLAT_SERVICE, {"vllm-llm/service/resources/gpus": "1"}),
        (REPLICAS, {"vllm-replicas/service/replicas": 4}),
        (REPLICAS, {"vllm-replicas/service/parameters/model": "qwen"}),
        (REPLICAS, {"vllm-replicas/service/resources/mem": "64G"}),
        (JOB, {"first-run/client/parameters/requests": 70, "first-run/service/kind": "ollama"}),
        (REGISTRY, {"ollama/service/parameters/model": "qwen3:0.6b"}),
        (REGISTRY, {"ollama/service/resources/partition": "gpu"}),
        (REDIS, {"redis-cache/service/health_check": {"interval": 5, "retries": 10}}),
        (SERVED, {"theirs/services/0/parameters/model": "facebook/opt-125m"}),
        (STORE, {"store/service/secrets/MINIO_ROOT_PASSWORD/generate": 24}),
    ],
)
def test_what_has_a_counterpart_is_carried_over(text: str, expected: dict[str, object]) -> None:
    """Each form's keys arrive under our names, in recipes that are accepted."""
    found = imported(text)
    assert expected == {path: value(dict(found.recipes), path) for path in expected}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (LIST, 1, "benchmark: is not carried over: each service is a recipe of its own"),
        (LIST, 8, "requests_per_second: the number of users is left out: requests are sent at"),
        (LIST, 12, "files: there is no kind for file_storage"),
        (LIST, 19, "services[2].password: is not carried over: passwords are not copied"),
        (LIST, 21, "services[2].operation_mix: is not carried over: clients here do one thing"),
        (WHOLE, 1, "meta.author: is not carried over: has no counterpart here"),
        (WHOLE, 23, "clients[0].workload.prompt: is not carried over: prompts are made up"),
        (WHOLE, 25, "reporting: is not carried over: a report of every run is made by itself"),
        (TIMED, 2, "services[0].duration: is not carried over"),
        (TYPED, 11, "client.settings.key_size_bytes: is not carried over: has no counterpart"),
        (FLAT_CLIENT, 6, "dataset.params.temperature: is not carried over: the server's own"),
        (FLAT_SERVICE, 3, "resources.disk_gb: is not carried over: Slurm gives out no disk"),
        (REPLICAS, 5, "4 replicas are 4 jobs of one node and 2 GPUs each"),
        (JOB, 3, "job.service.precision: is not carried over: has no counterpart here"),
        (REDIS, 3, "healthcheck: kind redis has no pages: its own check holds, with these times"),
        (REGISTRY, 2, "ollama.script: is not carried over: the kind starts the program itself"),
    ],
)
def test_what_stays_behind_is_named_with_its_line(text: str, line: int, said: str) -> None:
    """A key that nothing here stands for is said, and why."""
    remarks = [remark for remark in imported(text).remarks if remark.line == line]
    assert [said] == [said for remark in remarks if said in remark.render("f")]


def test_a_file_in_no_known_form_is_refused_with_the_forms() -> None:
    """Nobody's recipe is not guessed at."""
    with pytest.raises(UserError, match="in none of the forms that can be converted: a list of"):
        imported("a: 1\n")
