"""What Grafana shows of the services of a run: keyed on the labels that benchd gives its targets.

Never on the names of containers: a program that Apptainer or Charliecloud runs has none.
"""

from __future__ import annotations

from typing import Any

from benchd.catalog.dashboard import Panel, Row, dashboard, stat, variable

_HERE = 'run=~"$run", service=~"$service"'


def _rate(metric: str, by: str, match: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{_HERE}{match}}}[$__rate_interval]))"


def _sum(metric: str, by: str) -> str:
    return f"sum by ({by}) ({metric}{{{_HERE}}})"


def _busy() -> str:
    modes = "sum by (node) (rate(benchd_node_cpu_seconds_total{%s}[$__rate_interval]))"
    idle = modes % f'{_HERE}, mode="idle"'
    return f"1 - {idle} / {modes % _HERE}"


def _p95(metric: str) -> str:
    rate = f"rate({metric}_bucket{{{_HERE}}}[$__rate_interval])"
    return f"histogram_quantile(0.95, sum by (le, service) ({rate}))"


_NOW = Row(
    "Targets",
    (
        stat("Up", "Targets that answered.", f"sum(up{{{_HERE}}})"),
        stat(
            "Silent",
            "Targets that did not answer: the service is away, or its exporter is.",
            f"count(up{{{_HERE}}} == 0) or vector(0)",
            limits=((None, "green"), (1, "red")),
        ),
        Panel(
            "What answers",
            "Each target; a gap is a look that failed.",
            ((f"up{{{_HERE}}}", "{{job}} {{node}}"),),
            width=18,
            height=4,
        ),
    ),
)
_JOB = Row(
    "Jobs (benchd's exporter: exporters: [job])",
    (
        Panel(
            "Cores in use",
            "CPU time of the job's processes: 1 is one core.",
            ((_rate("benchd_job_cpu_seconds_total", "service, node"), "{{service}} {{node}}"),),
        ),
        Panel(
            "Memory by program",
            "Resident memory; pages that programs share count in each.",
            (
                (
                    _sum("benchd_job_program_resident_memory_bytes", "service, program"),
                    "{{service}} {{program}}",
                ),
            ),
            unit="bytes",
        ),
        Panel(
            "Storage",
            "Bytes that the job's processes moved from and to disks.",
            (
                (
                    _rate("benchd_job_io_bytes_total", "service, direction", ', layer="storage"'),
                    "{{service}} {{direction}}",
                ),
            ),
            unit="Bps",
        ),
        Panel(
            "Node: share of cores in use",
            "By everybody on the node: a busy neighbour spoils a measurement.",
            ((_busy(), "{{node}}"),),
            unit="percentunit",
        ),
        Panel(
            "Node: network",
            "Bytes of the whole node, without the loopback device.",
            (
                (_rate("benchd_node_network_receive_bytes_total", "node"), "{{node}} in"),
                (_rate("benchd_node_network_transmit_bytes_total", "node"), "{{node}} out"),
            ),
            unit="Bps",
        ),
        Panel(
            "GPU: share of time in use",
            "As nvidia-smi says it; nothing where there is none.",
            ((f"benchd_gpu_utilization_ratio{{{_HERE}}}", "{{node}} {{gpu}}"),),
            unit="percentunit",
        ),
        Panel(
            "GPU: memory",
            "In use.",
            ((f"benchd_gpu_memory_used_bytes{{{_HERE}}}", "{{node}} {{gpu}}"),),
            unit="bytes",
        ),
        Panel(
            "GPU: power",
            "What each draws.",
            ((f"benchd_gpu_power_watts{{{_HERE}}}", "{{node}} {{gpu}}"),),
            unit="watt",
        ),
        Panel(
            "cAdvisor: cores by cgroup",
            "Where one runs (enable_cadvisor): by the cgroup of the Slurm job.",
            (
                (
                    _rate("container_cpu_usage_seconds_total", "id", ', id=~".*job_[0-9]+"'),
                    "{{id}}",
                ),
            ),
        ),
    ),
)
_SERVERS = Row(
    "What servers say of themselves",
    (
        Panel(
            "Redis: commands",
            "By exporters: [redis].",
            ((_rate("redis_commands_processed_total", "service, node"), "{{service}} {{node}}"),),
            unit="ops",
        ),
        Panel(
            "Redis: memory",
            "By exporters: [redis].",
            ((f"redis_memory_used_bytes{{{_HERE}}}", "{{service}} {{node}}"),),
            unit="bytes",
        ),
        Panel(
            "MySQL: queries",
            "By exporters: [mysql].",
            ((_rate("mysql_global_status_queries", "service, node"), "{{service}} {{node}}"),),
            unit="ops",
        ),
        Panel(
            "vLLM: requests",
            "In generation, and waiting for a place.",
            (
                (f"vllm:num_requests_running{{{_HERE}}}", "{{service}} running"),
                (f"vllm:num_requests_waiting{{{_HERE}}}", "{{service}} waiting"),
            ),
        ),
        Panel(
            "vLLM: tokens",
            "Generated, each second.",
            ((_rate("vllm:generation_tokens_total", "service"), "{{service}}"),),
        ),
        Panel(
            "vLLM: time to the first token, p95",
            "Seen by the server: without the network and the client.",
            ((_p95("vllm:time_to_first_token_seconds"), "{{service}}"),),
            unit="s",
        ),
    ),
)
ROWS = (_NOW, _JOB, _SERVERS)


def services_dashboard() -> dict[str, Any]:
    """Return the dashboard of services, as Grafana reads it."""
    return dashboard(
        uid="benchd-services",
        title="Services",
        about="The services of a run, as Prometheus sees them. Part of benchd.",
        rows=ROWS,
        variables=[
            variable("run", "Run", "up", "run"),
            variable("service", "Service", 'up{run=~"$run"}', "service"),
        ],
        refresh="5s",
    )
