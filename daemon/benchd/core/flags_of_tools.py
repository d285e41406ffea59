"""The flags of wrapped tools, of scripts and of commands. Data; see ``benchd.core.flags``."""

from __future__ import annotations

from collections.abc import Mapping

from benchd.core.flags_words import ERROR, INFO, WARN, Doubt

# Seconds of a measurement below which the tool's start, its connections and one hiccup of the node,
# some ten milliseconds each, are several percent of what was measured; and a tool that tells no
# single requests leaves nothing by which they could be left out.
SHORT_WINDOW = 1.0

_TOOLS = {
    "closed_loop": Doubt(
        INFO,
        "",
        "a closed loop: when the server stalls the client stops sending, so the tail of the "
        "latencies is too good (coordinated omission)",
        "a rate, where the tool takes one; else `redis-load`, `llm-load`, `http-load`",
    ),
    "tool_not_co_safe": Doubt(
        WARN,
        "",
        "the tool sends at a rate but does not tell when requests were due: their waiting is in "
        "no latency",
        "read the tail as too good; `llm-load` and `guidellm` count from the schedule",
    ),
    "incomplete": Doubt(
        ERROR + WARN,
        "equal",
        "the parts of what the tool says do not add up, or a part is missing; warn where only "
        "percentiles lack some",
        "read the tool's output in `raw/`",
    ),
    "tool_error": Doubt(
        ERROR, "0", "the tool says that something failed", "the flag has its first words"
    ),
    "server_errors": Doubt(
        ERROR,
        "0",
        "the server answered commands with errors, which the tool has in its rates",
        "mend what is refused: wrong type, out of memory, no permission",
    ),
    "server_restarted": Doubt(
        ERROR,
        "0",
        "a counter of the server went back, or its process began anew: it was started again",
        "read its log",
    ),
    "not_cross_checked": Doubt(
        INFO,
        "",
        "the server could not be asked for its own count: the client is believed",
        "for databases an image that has the server's client beside the tool; for LLM servers one "
        "that shows its counters at `/metrics` (vLLM; SGLang and llama.cpp when told to)",
    ),
    "not_recomputed": Doubt(
        WARN,
        "every request",
        "the tool did not leave every request: its own summary is shown, by its own formulas",
        "compare it with nothing that has other formulas",
    ),
    "recounted": Doubt(
        INFO,
        "equal",
        "the tool counts successes that were no answers; they were counted again",
        "use benchd's counts",
    ),
    "short_window": Doubt(
        WARN,
        f"{SHORT_WINDOW:g} s",
        "the tool measured for so short a time that its start and chance are much of the rate, and "
        "it tells no single requests by which they could be told apart",
        "more `requests` or a longer `duration`: some seconds at least",
    ),
    "latency_clipped": Doubt(
        WARN,
        "3000 ms",
        "redis-benchmark counts every wait above 3 s as 3 s",
        "`redis-load`, which has no such end",
    ),
    "misses": Doubt(
        WARN,
        "1 % of the GETs",
        "keys that were read were not there: a miss is quicker than a hit",
        "`fill: true`",
    ),
    "no_window": Doubt(
        WARN,
        "",
        "when memtier began and ended is not known: there is no rate",
        "an image whose `date` has fractions of a second",
    ),
    "conn_errors": Doubt(ERROR, "0", "connections of memtier failed", "read the job's `err`"),
    "reconnects": Doubt(
        WARN, "0", "connections of sysbench were lost and made again", "read the server's log"
    ),
    "deadlocks": Doubt(
        WARN,
        "0",
        "PostgreSQL ended transactions that waited for each other",
        "a larger `scale`, or fewer connections",
    ),
    "no_percentiles": Doubt(
        INFO,
        "",
        "the tool tells how long all queries took together and nothing about single ones",
        "`sysbench`",
    ),
    "fixed_seed": Doubt(
        WARN,
        "",
        "a seed of one's own: every run sends the same prompts, which a prefix cache knows",
        "leave `seed` out",
    ),
    "errors_uncounted": Doubt(
        WARN,
        "",
        "VectorDBBench drops searches that failed: how many did is not known",
        "`chroma-load`, which counts them",
    ),
    "no_recall": Doubt(
        ERROR,
        "",
        "no recall: a latency says nothing without the share of the truth that was found",
        "read the tool's output in `raw/`",
    ),
    "client_cancelled": Doubt(
        ERROR, "", "AIPerf was stopped before its end", "raise `timeout`, or measure less"
    ),
    "client_*": Doubt(
        WARN,
        "GuideLLM's own",
        "GuideLLM warns of itself; the flag has its words, value and threshold",
        "as it says",
    ),
    "spark_uneven": Doubt(
        WARN,
        "1 more than on another node",
        "Spark put more load generators on one node than on another",
        "as many executors as nodes (`partitions` a multiple of them)",
    ),
    "stored_mismatch": Doubt(
        ERROR,
        "equal",
        "the service counts other documents than it was sent",
        "ids that are not unique, or a service that takes them in later: ask it again",
    ),
}

_OWN = {
    "no_output": Doubt(
        ERROR,
        "",
        "the file that the script was to write is not there",
        "read the script's last words in the flag, and `err`",
    ),
    "no_metrics": Doubt(
        ERROR + WARN,
        "one number",
        "no number in what the script left (error), or nothing was left but status and time (warn)",
        "let it write JSON into its directory: see [own commands](../howto/own-commands.md)",
    ),
    "reported_failure": Doubt(
        ERROR,
        "",
        "the script ended with status 0, and says in its JSON that it failed",
        "read what the flag quotes",
    ),
    "failed_after_work": Doubt(
        INFO, "", "the script tells of work that was done, and failed all the same", "read `err`"
    ),
    "bad_json": Doubt(WARN, "", "a file named .json is none", "mend the script"),
    "lists_left_alone": Doubt(
        INFO,
        "",
        "lists of samples were not made into metrics; the file has them",
        "write a summary beside them",
    ),
    "metrics_left_out": Doubt(
        WARN, "200 metrics", "numbers were left out: too many, too large", "write fewer"
    ),
    "bad_metrics": Doubt(
        WARN,
        "200 metrics",
        "parts of `metrics.json` do not follow its rules and were left out",
        "see [own commands](../howto/own-commands.md)",
    ),
    "coarse_clock": Doubt(
        INFO,
        "100 s",
        "the wall time is known in whole seconds: of little use for a short command",
        "let the command measure itself",
    ),
}

TOOLS: Mapping[str, Mapping[str, Doubt]] = {
    "Of tools of others": _TOOLS,
    "Of your own commands and scripts": _OWN,
}
