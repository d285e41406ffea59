"""VectorDBBench on Chroma, with a data set that lies on the cluster."""

from __future__ import annotations

from benchd.catalog import readings
from benchd.catalog.clients import wrapped
from benchd.catalog.clients.common import OPEN_LOOP, RESULT, URL
from benchd.catalog.kinds import ClientKind, Parameter, arguments, asks, setting
from benchd.catalog.readings.vectordbbench import SECONDS
from benchd.catalog.services.llm_common import PLACE
from benchd.core.containers import shell_path
from benchd.core.payload import Payload, Sh
from benchd.core.spec import JobSpec


def _index(name: str, usual: int, what: str) -> Parameter:
    return Parameter(name=name, type="int", default=usual, minimum=1, maximum=100_000, doc=what)


VECTORDBBENCH = (
    Parameter(
        name="case",
        type="str",
        default="Performance1536D50K",
        pattern=r"[A-Za-z0-9]{1,60}",
        doc="case, as VectorDBBench names it",
    ),
    Parameter(
        name="dataset_dir",
        type="str",
        default=None,
        pattern=PLACE,
        doc="directory with its data sets; what is not there is fetched from the internet; "
        "default: the job's own directory",
    ),
    _index("concurrency", 1, "processes that search at once"),
    _index("k", 100, "nearest neighbours that a search asks for"),
    _index("max_neighbors", 16, "edges of a node of the index"),
    _index("ef_construction", 256, "candidates that the making of the index looks at"),
    _index("ef_search", 256, "candidates that a search looks at: recall against latency"),
    wrapped.limit(86_400),
)
# Python runs a module of this name before the program. Its releases 1.0.22 and 2.0.0 give the host
# of an index a default that they then cannot write down, so that a case on Chroma measures all and
# leaves nothing. And they mean to drop what the last run has left, by a question that Chroma
# refuses: the next run would search its index, with its parameters.
_MENDS = r"""import os

url = os.environ.pop("BENCHD_MENDS", "")
if url:
    import sys
    import urllib.error
    import urllib.request
    from importlib import metadata

    try:
        with open(os.environ["BENCHD_RESULT_DIR"] + "/tool.txt", "a") as file:
            file.write("vectordb-bench %s\n" % metadata.version("vectordb-bench"))
        from pydantic import SecretStr
        from vectordb_bench.backend.clients.chroma.config import ChromaIndexConfig

        if not hasattr(ChromaIndexConfig.model_fields["host"].default, "get_secret_value"):
            ChromaIndexConfig.model_fields["host"].default = SecretStr("localhost")
            ChromaIndexConfig.model_rebuild(force=True)
    except (ImportError, AttributeError, KeyError) as error:
        sys.stderr.write("benchd: this VectorDBBench is another one: %s\n" % error)

    def stop(why):
        sys.stderr.write("benchd: %s\n" % why)
        sys.stderr.flush()
        os._exit(1)  # what is raised here would be told with its traceback

    where = "/api/v2/tenants/default_tenant/databases/default_database/collections/"
    gone = urllib.request.Request(url + where + "VectorDBBenchCollection", method="DELETE")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(gone, timeout=60).close()
    except urllib.error.HTTPError as error:
        if error.code != 404:
            stop("what the last run has left cannot be dropped: %s" % error)
    except OSError as error:
        stop("%s does not answer: %s" % (url, error))
"""
_WRAPPER = (
    r"""#!/bin/sh
# usage: vectordbbench.sh RESULT_DIR SECONDS DATASETS URL PROGRAM [OPTION ...]
set -u
dir=$1 limit=$2 datasets=$3 url=$4
shift 4
"""
    + wrapped.RUNNING
    + r"""choose "$1" 'use an image that has it: install vectordb-bench[chromadb] into one' \
  vectordbbench 'python3 -m vectordb_bench.cli.vectordbbench'
shift
export RESULTS_LOCAL_DIR="$BENCHD_JOB/vectordbbench"
export DATASET_LOCAL_DIR="${datasets:-$BENCHD_JOB/datasets}"
mkdir -p "$RESULTS_LOCAL_DIR" "$DATASET_LOCAL_DIR" || exit 1
date +%s.%N >"$dir/started.txt"
export BENCHD_MENDS="$url" PYTHONPATH="$BENCHD_JOB/mends${PYTHONPATH:+:$PYTHONPATH}"
# shellcheck disable=SC2086 # words of ours
limited "$limit" "$chosen" $words "$@" >"$dir/vectordbbench.txt" 2>"$dir/vectordbbench.err"
status=$?
date +%s.%N >"$dir/ended.txt"
find "$RESULTS_LOCAL_DIR" -name 'result_*.json' -type f -exec cp {} "$dir/vectordbbench.json" \;
if [ "$status" -eq 124 ]; then
  say "vectordbbench was stopped after $limit s: raise parameters.timeout, or do less"
elif [ "$status" -ne 0 ]; then
  tail -n 3 "$dir/vectordbbench.err" >&2
  say "vectordbbench failed with status $status"
elif [ ! -s "$dir/vectordbbench.json" ]; then
  tail -n 3 "$dir/vectordbbench.err" >&2
  say 'vectordbbench ended well and left no result'
  status=65
fi
exit "$status"
"""
)


def _payload(spec: JobSpec) -> Payload:
    def of(name: str) -> str:
        value = setting(VECTORDBBENCH, spec, name)
        return "" if value is None else str(value)

    sets = of("dataset_dir")
    return Payload(
        argv=(
            *("sh", Sh('"$JOB/vectordbbench.sh"'), RESULT, of("timeout")),
            *(Sh(shell_path(sets)) if sets else "", URL, wrapped.program(spec), "chroma"),
            *("--host", Sh('"$BENCHD_TARGET_HOST"'), "--port", Sh('"$BENCHD_TARGET_PORT"')),
            *("--case-type", of("case"), "--k", of("k"), "--num-concurrency", of("concurrency")),
            *("--concurrency-duration", str(spec.duration or SECONDS)),
            *("--m", of("max_neighbors"), "--ef-construct", of("ef_construction")),
            *("--ef-search", of("ef_search"), *arguments(spec)),
        ),
        environment=wrapped.ENVIRONMENT,
        files={"vectordbbench.sh": _WRAPPER, "mends/sitecustomize.py": _MENDS},
        needs=wrapped.needs(spec, "vectordbbench"),
    )


KIND = ClientKind(
    name="vectordbbench",
    summary="VectorDBBench on Chroma: searches a second, latency and recall of one of its cases",
    payload=_payload,
    parse=readings.vectordbbench,
    parameters=VECTORDBBENCH,
    extra_check=wrapped.checked(),
    elsewhere=dict.fromkeys(
        OPEN_LOOP, "VectorDBBench only knows a closed loop: use kind: chroma-load"
    ),
    asks=asks("chroma"),
)
