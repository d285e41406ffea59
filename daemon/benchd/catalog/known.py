"""What recipes of other projects mean: their scripts, and the arguments that our kinds say too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from benchd.core.seeds import KnownScript
from benchd.core.spec import Service

# What says how or where those scripts write, or wait: our clients have no need to be told.
_HOW = frozenset(
    {
        *("output_file", "output_dir", "copy_to_shared", "shared_dir", "parametric_mode"),
        *("collection_name", "collection_prefix", "endpoint", "native_runner", "user", "password"),
        *("concurrent_operations", "temperature", "top_p"),
    }
)
_REDIS = {
    "num_operations": "requests",
    "operations_per_test": "requests",
    "requests_per_config": "requests",
    "value_size": "data_size",
    "data_sizes": "data_size",
    "client_counts": "clients",
    "pipeline_depths": "pipeline",
    "native_tests": "tests",
}
# Words and tokens are not the same: an English word is 1.3 tokens. Which is meant is said by name.
_OLLAMA = {
    "num_requests": "requests",
    "operations_per_test": "requests",
    "num_requests_per_config": "requests",
    "concurrent_requests": "concurrency",
    "prompt_length": "prompt_tokens",
    "prompt_lengths": "prompt_tokens",
    "max_tokens": "output_tokens",
}

_CHROMA = {
    "num_documents": "vectors",
    "embedding_dimension": "dimension",
    "embedding_dimensions": "dimension",
    "batch_size": "batch",
    "batch_sizes": "batch",
    "num_queries": "requests",
    "top_k": "k",
}
_MYSQL = {"num_connections": "threads"}

# File name -> what it is.
SCRIPTS: Mapping[str, KnownScript] = {
    "redis_benchmark.py": KnownScript(
        service="redis",
        parameters=_REDIS,
        meaningless=_HOW,
        longest="timeout",
        options={"native_tests": "tests", "parametric_mode": ""},
        outside=True,
    ),
    "redis_parametric_benchmark.py": KnownScript(
        service="redis",
        parameters=_REDIS,
        meaningless=_HOW,
        longest="timeout",
        options={
            "client_counts": "clients",
            "pipeline_depths": "pipelines",
            "operations_per_test": "operations",
            "parametric_mode": "",
        },
        outside=True,
    ),
    "ollama_benchmark.py": KnownScript(
        service="ollama", parameters=_OLLAMA, meaningless=_HOW, packages=("requests",)
    ),
    "ollama_parametric_benchmark.py": KnownScript(
        service="ollama", parameters=_OLLAMA, meaningless=_HOW, packages=("requests",)
    ),
    "chroma_benchmark.py": KnownScript(
        service="chroma", parameters=_CHROMA, meaningless=_HOW, packages=("requests",)
    ),
    "chroma_parametric_benchmark.py": KnownScript(
        service="chroma", parameters=_CHROMA, meaningless=_HOW, packages=("requests",)
    ),
    "mysql_benchmark.py": KnownScript(
        service="mysql",
        parameters=_MYSQL,
        meaningless=_HOW | {"database"},
        packages=("mysql-connector-python",),
    ),
}

# Kind of service -> arguments that recipes write and the kind says itself: its own sub-command,
# where it listens, a file that another project's code would have written.
_SAID: Mapping[str, re.Pattern[str]] = {
    "redis": re.compile(r"/redis/config/redis\.conf"),
    "mysql": re.compile(
        r"--(datadir|socket|pid-file|tmpdir|skip-networking|bind-address|port|user)(=.*)?"
    ),
}
_DATADIR = "--datadir="


def own_arguments(service: Service) -> tuple[str, ...]:
    """Return the arguments of a service without those that its kind says itself."""
    return tuple(_others(_SAID.get(service.kind or service.name), service))


def _others(said: re.Pattern[str] | None, service: Service) -> Iterator[str]:
    is_value = False
    for text in service.args:
        if is_value and not text.startswith("-"):
            is_value = False
        elif said is not None and said.fullmatch(text) and not _is_mounted(text, service):
            is_value = text.startswith("--") and "=" not in text
        else:
            is_value = False
            yield text


def _is_mounted(text: str, service: Service) -> bool:
    """Tell whether an argument names a data directory that the recipe mounts: that is meant."""
    mounts = service.container.bind_mounts if service.container is not None else ()
    inside = [mount.split(":")[1] for mount in mounts if ":" in mount]
    directory = text.removeprefix(_DATADIR)
    return text.startswith(_DATADIR) and any(
        f"{directory}/".startswith(f"{place.rstrip('/')}/") for place in inside
    )
