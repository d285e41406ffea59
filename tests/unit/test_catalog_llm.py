"""What the kinds of LLM servers refuse, run, wait for and tell their clients."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchd.catalog import CATALOG
from benchd.core.payload import Sh
from benchd.core.spec import HealthCheck, JobSpec, Role, Secret, Service
from benchd.fields import Resources
from support.recipe_cases import jobs_of


def says(**over: Any) -> list[str]:
    """Return what is wrong with a service, each with its place."""
    return [f"{'.'.join(map(str, at))}: {what}" for at, what in CATALOG.check(Service(**over))]


def job(kind: str, **over: Any) -> JobSpec:
    """Return a service job."""
    return JobSpec(role=Role.SERVICE, name=kind, kind=kind, ports=("auto",), **over)


def words(spec: JobSpec) -> str:
    """Return the command of a job as a line of shell."""
    argv = CATALOG.services[spec.kind].payload(spec).argv
    return " ".join(a.text if isinstance(a, Sh) else shlex.quote(a) for a in argv)


MODEL = {"model": "m"}
REDIS = HealthCheck(type="redis")


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        # the recipe of the projects that benchd follows: everything agrees
        (
            {
                "name": "ollama",
                "command": "ollama",
                "args": ("serve",),
                "environment": {"OLLAMA_HOST": "0.0.0.0:11434", "OLLAMA_KEEP_ALIVE": "5m"},
                "ports": (11434,),
                "health_check": HealthCheck(endpoint="http://localhost:11434/api/tags"),
            },
            [],
        ),
        (
            {"name": "ollama", "environment": {"OLLAMA_HOST": "0.0.0.0:11434"}},
            [
                (
                    "environment.OLLAMA_HOST: names port 11434, but the server gets the first of "
                    "`ports`: write ports: [11434], or leave the port out here"
                )
            ],
        ),
        (
            {"name": "ollama", "environment": {"OLLAMA_HOST": "127.0.0.1"}},
            [
                (
                    "environment.OLLAMA_HOST: '127.0.0.1' would hide the server from clients on "
                    "other "
                    "nodes: leave it out"
                )
            ],
        ),
        (
            {
                "name": "ollama",
                "environment": {"OLLAMA_NUM_PARALLEL": "4"},
                "parameters": {"num_parallel": 8},
            },
            [
                (
                    "environment.OLLAMA_NUM_PARALLEL: says '4', but parameters.num_parallel says "
                    "'8': "
                    "keep one of them"
                )
            ],
        ),
        ({"name": "vllm"}, ["parameters.model: missing: which model is to be served"]),
        (
            {
                "name": "vllm",
                "parameters": {**MODEL, "tensor_parallel_size": 3},
                "resources": Resources(gpus="4"),
            },
            [
                (
                    "parameters.tensor_parallel_size: tensor size 3 x pipeline size 1 = 3 GPUs, "
                    "which "
                    "does not divide the 4 that are asked for"
                )
            ],
        ),
        (
            {
                "name": "vllm",
                "parameters": {**MODEL, "tensor_parallel_size": 4, "pipeline_parallel_size": 1},
                "resources": Resources(nodes=2, gres="gpu:a100:4"),
            },
            [
                (
                    "parameters.tensor_parallel_size: tensor size 4 x pipeline size 1 = 4 GPUs, "
                    "but "
                    "the 2 nodes have 8: the product must be that number"
                )
            ],
        ),
        (
            {"name": "vllm", "parameters": MODEL, "resources": Resources(nodes=2, gpus="5")},
            ["resources: 5 GPUs cannot be spread evenly over 2 nodes"],
        ),
        # what a study of scaling asks for, on one node
        (
            {
                "name": "vllm",
                "parameters": {**MODEL, "tensor_parallel_size": 2},
                "resources": Resources(gpus_per_node="4"),
            },
            [],
        ),
        (
            {"name": "vllm", "parameters": MODEL, "args": ("--api-key=sk", "--port", "8000")},
            [
                (
                    "args.0: --api-key would show its value to every user of the node; instead, "
                    "write "
                    "secrets: {VLLM_API_KEY: {generate: 32}}"
                ),
                "args.1: --port is decided by `ports`: leave it out here",
            ],
        ),
        (
            {"name": "triton", "ports": (8000,)},
            [
                "parameters.model_repository: missing: the directory with the models",
                "ports: 1 of three: HTTP, gRPC and metrics, such as [8000, 8001, 8002]",
            ],
        ),
        # checks that can never pass
        (
            {"name": "vllm", "parameters": MODEL, "health_check": HealthCheck(type="redis")},
            [
                (
                    "health_check.type: 'redis' can never pass: kind 'vllm' does not speak it; use "
                    "http, tcp, command or log"
                )
            ],
        ),
        (
            {"name": "redis", "health_check": HealthCheck(type="http", endpoint="/health")},
            [
                (
                    "health_check.type: 'http' can never pass: kind 'redis' does not speak it; use "
                    "redis, tcp, command or log"
                )
            ],
        ),
        (
            {"name": "ollama", "health_check": HealthCheck(endpoint="http://localhost:11434/")},
            [
                (
                    "health_check.endpoint: port 11434 is none of the service's ports: write only "
                    "the "
                    "path, or ports: [11434]"
                )
            ],
        ),
        (
            {"name": "redis", "health_check": HealthCheck(expect="PONG")},
            [
                (
                    "health_check.expect: a check of type redis reads no page: remove this, or say "
                    "`type: http`"
                )
            ],
        ),
        (
            {
                "name": "vllm",
                "parameters": MODEL,
                "secrets": {"VLLM_API_KEY": Secret(generate=32)},
                "health_check": HealthCheck(endpoint="/v1/models"),
            },
            [
                (
                    "health_check.endpoint: can never pass: vLLM answers 401 there to whoever "
                    "brings no key, and checks bring none; leave it out, or write /health"
                )
            ],
        ),
        (
            {
                "name": "x",
                "kind": "generic",
                "command": "y",
                "health_check": HealthCheck(type="redis"),
            },
            [],
        ),
    ],
)
def test_what_cannot_work_is_refused_with_what_would(
    service: dict[str, Any], expected: list[str]
) -> None:
    """Contradictions, shown secrets, sizes and checks that cannot be are named where they stand."""
    assert says(**service) == expected


LISTEN = '--host "$BENCHD_BIND" --port "$BENCHD_PORT"'


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            job("ollama", command="ollama", args=("serve",)),
            (
                'env OLLAMA_HOST="$BENCHD_BIND":"$BENCHD_PORT" '
                'OLLAMA_MODELS="$BENCHD_OLLAMA_MODELS"'
                " ollama serve"
            ),
        ),
        (
            job("vllm", parameters=MODEL, resources=Resources(gpus="a100:2")),
            f"vllm serve m {LISTEN} --tensor-parallel-size 2",
        ),
        (
            job("vllm", parameters={"model": "$SCRATCH/m", "enable_prefix_caching": False}),
            f'vllm serve "${{SCRATCH}}"/m {LISTEN} --no-enable-prefix-caching',
        ),
        (
            job(
                "vllm",
                command="python3 -m vllm.entrypoints.openai.api_server",
                parameters={**MODEL, "dtype": "half"},
                args=("--swap-space", "4"),
            ),
            (
                f"python3 -m vllm.entrypoints.openai.api_server --model m {LISTEN} --dtype half "
                "--swap-space 4"
            ),
        ),
        (
            job("vllm", parameters=MODEL, resources=Resources(nodes=2, gres="gpu:4")),
            (
                f'bash "$JOB/ray-head.sh" vllm serve m {LISTEN} --tensor-parallel-size 4 '
                "--pipeline-parallel-size 2 --distributed-executor-backend ray"
            ),
        ),
        (
            job(
                "vllm",
                parameters={**MODEL, "tensor_parallel_size": 8},
                resources=Resources(nodes=2, gpus_per_node="4"),
            ),
            (
                f'bash "$JOB/ray-head.sh" vllm serve m {LISTEN} --tensor-parallel-size 8 '
                "--distributed-executor-backend ray"
            ),
        ),
        (
            job("triton", parameters={"model_repository": "/m", "models": "a,b"}),
            (
                'tritonserver --http-port "$BENCHD_PORT_0" --grpc-port "$BENCHD_PORT_1" '
                '--metrics-port "$BENCHD_PORT_2" --http-address "$BENCHD_BIND" '
                '--grpc-address "$BENCHD_BIND" --metrics-address "$BENCHD_BIND" '
                '--model-repository "$BENCHD_MODEL_REPOSITORY" '
                "--model-control-mode explicit --load-model=a --load-model=b"
            ),
        ),
    ],
)
def test_a_service_becomes_a_command(spec: JobSpec, expected: str) -> None:
    """Models, ports and sizes reach the server's command line."""
    assert words(spec) == expected


CLIENT = "client: {name: llm-load, target_service: {name: s}, parameters: {%s}}"


@pytest.mark.parametrize(
    ("service", "client", "expected"),
    [
        (
            (
                "{name: s, kind: ollama, parameters: {model: llama3.2, context_length: 8192, "
                "gpu_layers: 0}}"
            ),
            "concurrency: 2",
            {
                "api": "ollama-generate",
                "model": "llama3.2",
                "num_ctx": 8192,
                "num_gpu": 0,
                "concurrency": 2,
            },
        ),
        (
            "{name: s, kind: ollama, parameters: {context_length: 8192}}",
            "api: openai-chat, model: m",
            {"api": "openai-chat", "model": "m"},
        ),
        (
            "{name: s, kind: vllm, parameters: {model: a/b, served_model_name: b}}",
            "seed: 1",
            {"api": "openai-completions", "api_key_env": "VLLM_API_KEY", "model": "b", "seed": 1},
        ),
        ("{name: s, kind: sim-llm}", "seed: 1", {"seed": 1}),
    ],
)
def test_a_client_fits_the_service_it_measures(
    service: str, client: str, expected: dict[str, Any]
) -> None:
    """Interface, model and key follow from the service and stand in the stored spec."""
    jobs = jobs_of("x.yaml", f"service: {service}\n{CLIENT % client}\n")
    assert jobs[-1].spec.parameters == expected


def test_a_service_of_another_run_is_known_by_its_name() -> None:
    """A client of a service called ollama, in no recipe of ours, speaks Ollama's interface."""
    jobs = jobs_of("x.yaml", "client: {name: llm-load, target_service: {name: ollama}}\n")
    assert jobs[-1].spec.parameters == {"api": "ollama-generate"}


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("name: ollama", (None, "/api/tags")),
        ("name: ollama, parameters: {model: llama3.2}", ('"llama3.2:latest"', "/api/tags")),
        ("name: ollama, parameters: {model: hf.co/a/b:Q4}", ('"hf.co/a/b:Q4"', "/api/tags")),
        (
            (
                "name: ollama, parameters: {model: m:1b}, ports: [11434], "
                "health_check: {endpoint: 'http://localhost:11434/api/tags', interval: 10}"
            ),
            ('"m:1b"', "/api/tags"),
        ),
        # another page of the server says nothing about models
        ("name: ollama, parameters: {model: m}, health_check: {endpoint: /}", (None, "/")),
        (
            "name: ollama, parameters: {model: m}, health_check: {endpoint: /, expect: running}",
            ("running", "/"),
        ),
    ],
)
def test_the_usual_check_expects_the_model(service: str, expected: tuple[str | None, str]) -> None:
    """Ollama is ready when it lists the model it was told to serve, on the right page."""
    (found,) = jobs_of("x.yaml", f"service: {{{service}}}\n")
    check = found.spec.health_check
    assert check is not None
    assert (check.expect, check.endpoint) == expected


def test_a_key_is_in_no_word_of_a_command() -> None:
    """VLLM's key is a variable that only the two programs see."""
    service = job("vllm", parameters=MODEL, secrets={"VLLM_API_KEY": Secret(generate=32)})
    payload = CATALOG.services["vllm"].payload(service)
    texts = [*map(str, payload.argv), *map(str, payload.environment), *payload.preamble]
    assert [text for text in texts if "API_KEY" in text] == []


# A program with Ollama's command line as far as the script uses it; it is not Ollama. It writes
# down each call, and a pull makes the model after as long as the test says.
STAND_IN = """\
#!/bin/sh
case $1 in
show) [ -e "$OLLAMA_MODELS/$2" ] ;;
pull)
    echo "$2" >>"$OLLAMA_MODELS/pulls"
    sleep "$PULL_TAKES"
    [ "$2" != absent ] && : >"$OLLAMA_MODELS/$2"
    ;;
esac
"""


def pullers(tmp_path: Path, model: str, count: int) -> tuple[list[int], str]:
    """Let so many jobs bring one model at once; return their statuses and what they said."""
    payload = CATALOG.services["ollama"].payload(job("ollama", parameters={"model": model}))
    script = tmp_path / "pull-model.sh"
    script.write_text(str(payload.files["pull-model.sh"]))
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "ollama"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    models = tmp_path / "models"
    models.mkdir()
    env = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "OLLAMA_MODELS": str(models),
        "PULL_TAKES": "0.3",
    }
    jobs = [
        subprocess.Popen(["sh", str(script), model], env=env, stderr=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    said = [process.communicate(timeout=30)[1] for process in jobs]
    return [process.returncode for process in jobs], said[0]


def test_ten_jobs_pull_one_model_once(tmp_path: Path) -> None:
    """Jobs that share a directory of models wait for the one that fetches."""
    statuses, _ = pullers(tmp_path, "m", 10)
    assert (statuses, (tmp_path / "models" / "pulls").read_text()) == ([0] * 10, "m\n")
    assert not (tmp_path / "models" / ".benchd-pull").exists()


def test_a_model_that_cannot_be_pulled_ends_the_job(tmp_path: Path) -> None:
    """The job ends with a sentence that says where the model was wanted."""
    statuses, said = pullers(tmp_path, "absent", 1)
    assert statuses == [1]
    assert "the model absent could not be pulled" in said
    assert f"into {tmp_path / 'models'}" in said
