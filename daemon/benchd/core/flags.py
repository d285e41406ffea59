"""Every flag that a result can have: its severity, its limit, what it means and what to do. Data.

The limits are those that the code judges by; the page docs/reference/flags.md is made of this.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchd.core.flags_of_tools import TOOLS
from benchd.core.flags_words import ERROR, INFO, WARN, Doubt, percent
from benchd.core.numbers import SAMPLES_NEEDED

# Share of the issued requests that failed, above which the numbers describe another workload.
ERROR_RATE = 0.01
# Share of one core above which the client itself may be what was measured.
CLIENT_CPU = 0.8
# Share of the offered rate that must have been sent for an open loop to be what it says it is.
DELIVERY = 0.98
# Milliseconds by which requests may leave late (p99), and answers may be noticed late (p99); and
# the share of the median latency that either may be. Of too few for a p99 it is p95, or p90.
SEND_LAG, LOOP_LAG, OF_MEDIAN = 10.0, 5.0, 0.05
# Share of the requests at the peak rate that must meet the objectives: that of each step of the
# search for it.
PEAK_SHARE = 0.99
# Requests of one measurement that the load generator keeps: each is half a kilobyte of its memory.
KEPT = 2_000_000
# Share of answers that may be shorter than asked.
SHORT_OUTPUT = 0.05
# Share by which the length of prompts may be missed; and the one by which a server that reads less
# than it is sent has cut them: throughput and latency are then those of another workload.
PROMPT_LENGTH, PROMPT_CUT = 0.01, 0.1
# Tokens that a single word may have with a small model: prompts are made of whole words.
WORD = 10
# Share by which a server's own count may differ from that of benchd's generators; and the one by
# which an LLM server's count of the tokens it made may, which nothing but the load adds to.
COUNTED, TOKENS = 0.01, 0.005
# Share of the prompts' tokens that may come from a cache when every prompt is another one.
CACHE_HITS = 0.01
# Milliseconds between the first requests of several nodes, beyond what their clocks leave open.
START_SPREAD = 100.0
# Share of a step's time that the median answer in it may take: what is still under way at the end
# of a step counts as time in which too little was done.
STEP_SHARE = 0.1
# Share of a step's rate (of the ceiling's where that is less) below which what is answered tells of
# a service that does not bear now what it bore in the ceiling.
STEP_KEPT = 0.8
# Seconds by which a node's clock and Slurm's may tell a job's length apart: both count in whole
# seconds, and Slurm counts the start and the end of the script as well.
CLOCK_STEP = 2.0

_EVERY = {
    "no_work": Doubt(
        ERROR, "one success", "nothing succeeded", "read the first errors in the result and `err`"
    ),
    "error_rate": Doubt(
        ERROR + WARN,
        f"{percent(ERROR_RATE)} of the requests issued: above it error, else warn",
        "requests failed; failures are in no latency and no throughput",
        "look at `counts.by_class` and `counts.first_errors`; lower the load, or mend the service",
    ),
    "dropped": Doubt(
        WARN,
        "0",
        "arrivals were never sent, because `max_in_flight` was reached, or because the load "
        "generator was too far behind (`generator_behind`); latencies are those of a service that "
        "is spared them",
        "raise `max_in_flight`, or take the rate for more than the service bears",
    ),
    "counts_mismatch": Doubt(
        ERROR,
        "equal",
        "ok + errors + dropped + cancelled is not what was scheduled",
        "distrust the client: what it says about its own work does not add up",
    ),
    "insufficient_samples": Doubt(
        INFO,
        "samples: " + ", ".join(f"{needed} for p{q}" for q, needed in SAMPLES_NEEDED.items()),
        "percentiles that so few samples cannot tell are null",
        "measure longer, or more requests",
    ),
    "bad_number": Doubt(
        ERROR,
        "0",
        "numbers that are none (NaN, infinite, negative, absurd); they are null in the result",
        "distrust the client, and tell its author",
    ),
    "job_failed": Doubt(
        ERROR, "status 0", "the client's job did not end well", "`benchctl why JOB` says why"
    ),
    "partial": Doubt(
        ERROR,
        "",
        "the client was stopped before it was done: cancelled, out of time, its service lost",
        "raise the job's time limit (`resources.time`), or measure less",
    ),
    "service_not_steady": Doubt(
        ERROR,
        "",
        "a service left READY, was started again or was suspended while it was measured",
        "read the service's log; `benchctl retry RUN` measures again",
    ),
    "service_not_observed": Doubt(
        WARN,
        "the longest pause between two looks that is normal",
        "seconds of the measurement in which nobody looked at a service: our own link or daemon "
        "was away, and what happened meanwhile is known before and after only",
        "compare with another repeat",
    ),
    "same_node_client": Doubt(
        INFO,
        "",
        "client and service shared a node: they compete for it, and no network is in the numbers",
        "`placement: other-node` keeps them apart",
    ),
    "clock_step": Doubt(
        WARN,
        f"{CLOCK_STEP:g} s",
        "the clock of the client's node was set while it measured",
        "latencies of benchd's own clients hold (their clock cannot jump); times of day do not",
    ),
}

_HOME = {
    "malformed": Doubt(
        ERROR,
        "",
        "what the client left makes no document that fits the schema of results; it is kept as it "
        "came (`raw/`), and the log says so",
        "read `raw/`, and report it: a reader of results is wrong",
    ),
    "unreadable": Doubt(
        ERROR,
        "",
        "the reader of this kind failed on what the client left; it is kept as it came (`raw/`)",
        "read `raw/`, and report it: a reader of results is wrong",
    ),
    "unknown_kind": Doubt(
        ERROR,
        "",
        "the client's kind is not in the catalogue any more",
        "put its file back into `catalog/`, restart, and measure again",
    ),
    "files_gone": Doubt(
        ERROR,
        "",
        "the job's directory was not there when it was to be fetched",
        "use a `workdir` that nobody cleans while runs last",
    ),
    "files_truncated": Doubt(
        WARN,
        "64 MiB, 10,000 files",
        "more was left than is fetched; the rest is in the job's directory",
        "let the client write less into its result directory",
    ),
    "no_result": Doubt(
        ERROR,
        "",
        "the client left no numbers; the flag has its last words",
        "`benchctl why JOB`, then the job's `err`",
    ),
    "bad_result": Doubt(
        ERROR,
        "`benchd.load/1`",
        "the load generator's document cannot be read",
        "report it: client and benchd differ",
    ),
}

_LOAD = {
    "client_error": Doubt(
        ERROR,
        "",
        "the load generator gave up: the service did not answer, a data set cannot be read, an "
        "option contradicts another",
        "the flag has the sentence; mend what it names",
    ),
    "client_cpu": Doubt(
        ERROR,
        f"{percent(CLIENT_CPU)} of a core in any process",
        "the load generator was busy itself: it may be what was measured",
        "more `processes`, `cpus_per_task` or `nodes`, or a lower rate",
    ),
    "ended_early": Doubt(
        WARN,
        f"{KEPT:,} requests",
        "every request is kept, and no more of them can be: the measurement was ended before the "
        "`duration` that was asked for",
        "ask for a rate at which fewer fit into the time",
    ),
    "loop_lag_p99": Doubt(
        WARN,
        f"{LOOP_LAG:g} ms, or {percent(OF_MEDIAN)} of the median latency where that is more",
        "the load generator noticed answers late: something else kept its core busy",
        "a node of its own, or more `cpus_per_task`",
    ),
    "send_lag_p99": Doubt(
        WARN + INFO,
        f"{SEND_LAG:g} ms, or {percent(OF_MEDIAN)} of the median latency: beyond both warn, beyond "
        "one info",
        "requests left later than planned (p99): `*_sched` has that in it, `*_service` not",
        "a node of its own, or more `cpus_per_task`; where the service is quicker than a timer "
        "(Redis), read both latencies",
    ),
    "under_delivery": Doubt(
        ERROR + WARN,
        f"{percent(DELIVERY)} of the planned rate: below it error, but warn where arrivals that "
        "`max_in_flight` dropped make up the rest and the load generator was in time",
        "less was sent than planned, so the load was not the one that was asked for",
        "more `processes`, cores or nodes for the client; after drops read `req_s` as what the "
        "service bears, and do not compare the latencies with those at the full rate",
    ),
    "generator_behind": Doubt(
        ERROR,
        f"no arrival over 5 s late; half of them at most {SEND_LAG:g} ms, or the median latency "
        "where that is more",
        "the load generator could not keep the schedule: what it sends then is what one process "
        "can, and `*_sched` tells of it, not of the service",
        "a lower rate, or more `processes`, cores or nodes for the client",
    ),
    "not_steady": Doubt(
        WARN,
        "latency and requests in flight both grow to at least twice what they were",
        "the service did not keep up, or the load generator, where it was late: the numbers depend "
        "on how long the measurement lasted",
        "lower the rate; `load: find-peak` looks for the highest one that is kept up with",
    ),
    "ceiling_not_reached": Doubt(
        WARN,
        "95 % of 125 % of the ceiling's rate",
        "`load: saturate`: the service kept up with more than the users of the ceiling got "
        "answered, so it bears more than was asked of it, and the knee is not in the curve",
        "raise `concurrency`",
    ),
    "peak_not_held": Doubt(
        WARN,
        f"{percent(PEAK_SHARE)} of the requests good, and the queue not growing",
        "`load: find-peak`: the measurement at the peak rate did not meet the objectives: a step "
        "was too short to tell, or the service gets slower with time; `load: saturate`: a rate "
        "below the peak was not good",
        "raise `step_time`; take the rate for more than the service bears for so long",
    ),
    "peak_of_client": Doubt(
        WARN,
        f"{percent(CLIENT_CPU)} of a core in any process; requests that left late, as for "
        "`send_lag_p99`",
        "`load: find-peak`: the load generator was busy or late itself at the lowest rate that was "
        "not good, so the peak may be its own",
        "more `processes`, `cpus_per_task` or cores for the client",
    ),
    "no_good_step": Doubt(
        WARN,
        "",
        "`load: saturate`: not even the lowest rate was sent in time, kept up with and within the "
        "objectives, although users who waited got more: ceiling and rates do not fit together",
        "where steps were not sent, more `processes` or cores for the client, or a higher "
        "`max_in_flight`; else a `slo` that one user can have, or more `steps`",
    ),
    "slower_than_ceiling": Doubt(
        WARN,
        f"{percent(STEP_KEPT)} of the step's rate, or of the ceiling's where that is less",
        "`load: saturate`: arrivals got less answered than users who wait did before them: the "
        "service got slower with time, or breaks down below a queue; peak and knee are too low, or "
        "the ceiling too high",
        "measure again, and compare the steps in time; a lower `max_in_flight` keeps queues short",
    ),
    "short_steps": Doubt(
        WARN,
        f"{percent(STEP_SHARE)} of `step_time`",
        "`load: saturate`: answers took a large part of a step, so rates of steps are too low",
        "raise `step_time`",
    ),
    "counter_mismatch": Doubt(
        WARN + ERROR,
        f"{percent(COUNTED)} for benchd's generators (warn), 2 % and some slack for other tools: "
        "error where the server did less than the tool says, warn where it did more",
        "the server counted something else than was sent",
        "more: somebody else uses the service too, and its latencies are theirs as well; less: "
        "the tool counts what never arrived",
    ),
    "warmup_errors": Doubt(
        WARN, "0", "requests of the warm-up failed", "see whether the service was warm at all"
    ),
    "resent": Doubt(
        WARN + INFO,
        f"{percent(ERROR_RATE)} of the requests issued: above it warn, else info",
        "requests crossed the server's closing of an idle connection and were sent again; their "
        "time runs from the first sending",
        "a longer idle time-out of the server avoids it; of many, see in its log whether it drops "
        "requests without an answer",
    ),
    "nodes_missing": Doubt(
        ERROR,
        "0",
        "load generators of some nodes left no samples: their load is not in the numbers",
        "read `err` of the job: a node failed or could not reach the service",
    ),
    "start_spread": Doubt(
        WARN,
        f"{START_SPREAD:g} ms beyond what the nodes' clocks leave open",
        "the load generators of several nodes did not start together",
        "measure longer, so that the beginning counts less",
    ),
    "replica_idle": Doubt(
        WARN,
        "0",
        "replicas of the service answered nothing",
        "read the service's logs: the load was on the others alone",
    ),
}

_LLM = {
    "prompt_len_mismatch": Doubt(
        WARN + ERROR,
        f"{percent(PROMPT_LENGTH)} of the length asked for; error where the server read over "
        f"{percent(PROMPT_CUT)} less",
        "prompts were not as long as asked for, by the server's own count",
        "shorter by much: the server cuts them (Ollama: raise `num_ctx`); else `prompt_ids` "
        "(vLLM), or prompts that are longer than the chat template",
    ),
    "short_output": Doubt(
        WARN + INFO,
        f"{percent(SHORT_OUTPUT)} of the answers: above it warn, else info",
        "answers ended before the length asked for",
        "`ignore_eos: true` where the server can; else compare only with alike answers",
    ),
    "long_output": Doubt(
        WARN,
        "0",
        "answers had more tokens than were asked for: the server keeps to no limit, or its count "
        "is wrong; then so are `out_tok_s` and `tpot`",
        "see whether the server knows `max_tokens`, and what its own counters say",
    ),
    "token_mismatch": Doubt(
        WARN + ERROR,
        f"{percent(TOKENS)}; error where the server counted over 2 % less than came",
        "the server counted other tokens than the client received",
        "more: somebody else uses the server too, or it worked for requests that were given up; "
        "less: do not believe `out_tok_s`, and see whether `tokens_estimated` explains it",
    ),
    "cache_hit_rate": Doubt(
        WARN,
        f"{percent(CACHE_HITS)} of the prompts' tokens, with `cache_mode: unique` or another tool",
        "the server had parts of the prompts in its prefix cache: they cost nothing, and TTFT and "
        "throughput are better than those of new prompts",
        "a chat template is shared by all prompts: longer ones, or `openai-completions`; else a "
        "fresh server, or one without a prefix cache (`enable_prefix_caching: false`)",
    ),
    "tokens_estimated": Doubt(
        WARN,
        "0",
        "answers came without usage: their tokens are counted chunks",
        "a server that tells `usage` in streams",
    ),
    "model_not_listed": Doubt(
        INFO,
        "",
        "the server answers to this model name but does not list it",
        "see whether it is the model that was meant",
    ),
}

# Where a flag comes from -> code -> what it is. A code that ends in `*` stands for all that begin
# with the rest of it.
FLAGS: Mapping[str, Mapping[str, Doubt]] = {
    "Of every result": _EVERY,
    "Of what came home": _HOME,
    "Of benchd's own load generators": _LOAD,
    "Of load on LLM servers": _LLM,
    **TOOLS,
}
