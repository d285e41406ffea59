"""Retrieval-augmented generation: documents from Chroma into the prompts of an LLM server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchd.catalog import readings
from benchd.catalog.clients import llm_load
from benchd.catalog.clients.common import RESULT, URL, objectives, target_url
from benchd.catalog.clients.own_load import loads, options, samples
from benchd.catalog.kinds import ClientKind, Complaint, Parameter, arguments, asks, program
from benchd.core.payload import Payload, Sh
from benchd.core.spec import Client, JobSpec, Part


def _question(parameter: Parameter) -> Parameter:
    """Return what llm-load has, with a prompt that is a question beside the documents."""
    if parameter.name != "prompt_tokens":
        return parameter
    return replace(parameter, default=32, doc="length of a question, without the documents")


# Its questions are made, and one process holds the documents.
_NOT_HERE = ("processes", "prompt_ids", "dataset")
RAG_LOAD = (
    *(_question(one) for one in llm_load.LLM_LOAD if one.name not in _NOT_HERE),
    Parameter(
        name="documents",
        type="int",
        default=1000,
        minimum=1,
        maximum=1_000_000,
        doc="documents that are put into the store before the measurement",
    ),
    Parameter(
        name="document_tokens",
        type="int",
        default=64,
        minimum=1,
        maximum=100_000,
        unit="tokens",
        doc="length of a document",
    ),
    Parameter(
        name="dimension",
        type="int",
        default=384,
        minimum=1,
        maximum=100_000,
        doc="of a document's vector",
    ),
    Parameter(
        name="k",
        type="int",
        default=4,
        minimum=1,
        maximum=1000,
        doc="documents that are looked up for a question and go into its prompt",
    ),
)


def _payload(spec: JobSpec) -> Payload:
    urls = [target_url(target.name) for target in spec.targets]
    llm, store = urls[0] if urls else URL, urls[-1] if urls else URL
    return Payload(
        argv=(
            *program(spec, "python3"),
            *(Sh('"$BENCHD_SHIP_LOAD"'), "rag", "--url", llm, "--store-url", store),
            # The job directory is named by its token, and so are the prompts and the collection.
            *("--out", RESULT, "--run-id", Sh('"$(basename "$JOB")"')),
            *options(RAG_LOAD, spec),
            *arguments(spec),
        ),
        ship=("load",),
    )


def _check(part: Part) -> Sequence[Complaint]:
    if isinstance(part, Client) and part.target_service is None and len(part.target_services) == 2:
        return (*loads(part), *objectives(part, "rag"))
    what = "a client of kind 'rag-load' measures two services: the LLM server, then Chroma"
    return ((("target_services",), what),)


KIND = ClientKind(
    name="rag-load",
    summary="looks documents up in Chroma and asks an LLM with them: retrieval, TTFT and "
    "end-to-end latency of both together; part of benchd",
    payload=_payload,
    parse=readings.load,
    parameters=RAG_LOAD,
    needs_target=False,  # its own check says more
    fits=llm_load.KIND.fits,
    extra_check=_check,
    asks=asks("openai", "ollama", "chroma"),
    in_turn=(("openai", "ollama"), ("chroma",)),
    samples=samples,
)
