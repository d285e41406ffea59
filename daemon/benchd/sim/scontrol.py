"""scontrol: show config, jobs and nodes; ping; hold, release, requeue."""

from __future__ import annotations

from collections.abc import Callable

from benchd.sim.call import Answer, Call, parse_job_id
from benchd.sim.nouns import Job, Rejected
from benchd.sim.options import Parser, options
from benchd.sim.text import UsageError, exit_code, moment, node_list, size, span, unfold

_PARSER = Parser("scontrol", options("all/a oneliner/o quiet/Q verbose/v version/V"))


def scontrol(call: Call) -> Answer:
    """Look at, or change, what slurmctld knows."""
    pairs, words = _PARSER.parse(call.argv)
    said = dict(pairs)
    if "version" in said:
        words = ["version"]
    verb, *rest = words or [""]
    verbs: dict[str, Callable[[Call, list[str]], Answer]] = {
        "show": lambda call, rest: _show(call, rest, one_line="oneliner" in said),
        "ping": lambda call, _: Answer(
            0, f"Slurmctld(primary) at {call.model.config.host} is UP\n"
        ),
        "version": lambda call, _: Answer(0, f"slurm-wlm {call.model.config.version}\n"),
        "hold": _hold,
        "release": _release,
        "requeue": _requeue,
        "update": _update,
    }
    if verb not in verbs:
        raise UsageError(f"invalid keyword: {verb}\n", 1)
    if verb in {"hold", "release", "requeue", "update"} and not rest:
        raise UsageError(f"too few arguments for keyword:{verb}\n", 1)
    return verbs[verb](call, rest)


# --- changing ---


def _targets(call: Call, words: list[str]) -> list[int | str]:
    """Return job ids; ``jobname=X`` stands for every job of that name."""
    found: list[int | str] = []
    for word in ",".join(words).split(","):
        name = word.partition("=")[2] if word.lower().startswith("jobname=") else None
        if name is not None:
            found += [job.id for job in call.model.jobs.values() if job.request.name == name]
        else:
            number = parse_job_id(word)
            found.append(number if number is not None else word)
    return found


def _each(call: Call, words: list[str], act: Callable[[int], None], after: str) -> Answer:
    err = ""
    for target in _targets(call, words):
        try:
            act(target if isinstance(target, int) else -1)
        except Rejected as no:
            err += f"{no.text} for job {target}\n{after.format(no.text)}"
    return Answer(1 if err else 0, "", err)


def _hold(call: Call, words: list[str]) -> Answer:
    admin = call.uid == 0
    return _each(
        call,
        words,
        lambda job_id: call.model.hold(job_id, by_admin=admin),
        "slurm_suspend error: {}\n",
    )


def _release(call: Call, words: list[str]) -> Answer:
    return _each(
        call,
        words,
        lambda job_id: call.model.release(job_id, call.now),
        "slurm_suspend error: {}\n",
    )


def _requeue(call: Call, words: list[str]) -> Answer:
    return _each(call, words, lambda job_id: call.model.requeue(job_id, call.now), "")


def _update(call: Call, words: list[str]) -> Answer:
    """Change a node's state; nothing else can be updated here."""
    given = {key.lower(): value for key, _, value in (word.partition("=") for word in words)}
    name = given.get("nodename", "")
    if name not in call.model.nodes:
        return Answer(1, "", "slurm_update error: Invalid node name specified\n")
    state = given.get("state", "").upper()
    node = call.model.nodes[name]
    if state in {"RESUME", "IDLE"} and (node.down is not None or state == "IDLE"):
        call.model.node_up(name)
    elif state in {"DOWN", "FAIL"}:
        call.model.node_down(name, call.now)
    else:
        return Answer(1, "", "slurm_update error: Invalid node state specified\n")
    return Answer()


# --- showing ---


def _show(call: Call, words: list[str], *, one_line: bool) -> Answer:
    entity, *names = words or [""]
    if "config".startswith(entity) and entity:
        return Answer(0, _config(call))
    if entity in {"job", "jobs", "jobid"}:
        return _show_jobs(call, names, one_line=one_line)
    if entity == "hostnames" and names:
        return Answer(0, "".join(f"{name}\n" for name in unfold(names[0])))
    if entity in {"node", "nodes"}:
        return _show_nodes(call, names)
    raise UsageError(f"invalid entity:{entity} for keyword:show \n", 1)


def _config(call: Call) -> str:
    config = call.model.config
    rows = {
        "AccountingStorageType": "accounting_storage/"
        + ("slurmdbd" if call.accounting else "none"),
        "ClusterName": config.cluster_name,
        "DefMemPerCPU": config.mem_per_cpu_mb,
        "EnforcePartLimits": "ALL" if config.enforce_limits else "NO",
        "JobRequeue": 1,
        "KillWait": f"{int(config.kill_wait)} sec",
        "MaxArraySize": 1001,
        "MaxJobCount": 10000,
        "MessageTimeout": f"{int(config.message_timeout)} sec",
        "MinJobAge": f"{int(call.model.min_job_age)} sec",
        "PreemptMode": "REQUEUE",
        "SchedulerType": "sched/builtin",
        "SelectType": "select/cons_tres",
        "SLURM_VERSION": config.version,
        "SlurmctldHost[0]": config.host,
    }
    at = moment(call.now, {})
    lines = [f"Configuration data as of {at}"]
    lines += [f"{key:<23} = {value}" for key, value in rows.items()]
    lines += ["", f"Slurmctld(primary) at {config.host} is UP"]
    return "".join(f"{line}\n" for line in lines)


def _show_jobs(call: Call, names: list[str], *, one_line: bool) -> Answer:
    if not names:
        jobs = list(call.model.jobs.values())
        if not jobs:
            return Answer(0, "No jobs in the system\n")
    else:
        number = parse_job_id(names[0])
        if number is None:
            return Answer(1, "", "scontrol_print_job error: Invalid job id specified\n")
        if number not in call.model.jobs:
            return Answer(1, "", "slurm_load_jobs error: Invalid job id specified\n")
        jobs = [call.model.jobs[number]]
    texts = [_job(job, call) for job in jobs]
    if one_line:
        return Answer(0, "".join(f"{' '.join(lines)} \n" for lines in texts))
    return Answer(0, "".join("\n   ".join(lines) + "\n   \n\n" for lines in texts))


def _job(job: Job, call: Call) -> list[str]:
    """Return the lines of ``scontrol show job``."""
    request = job.request
    who = f"{job.user}({job.uid})"
    limit = "UNLIMITED" if job.minutes is None else span(job.minutes * 60, padded=True)
    ran = (job.end or call.now) - job.start if job.start is not None else 0
    end = job.end
    if end is None and job.start is not None and job.minutes is not None:
        end = job.start + job.minutes * 60

    def when(at: float | None) -> str:
        return moment(at, {}, unknown="Unknown")

    out, err = _streams(job)
    lines = [
        f"JobId={job.id} JobName={request.name}",
        f"UserId={who} GroupId={who} MCS_label=N/A",
        (
            f"Priority={job.priority} Nice=0 Account={request.account or job.user}"
            f" QOS={request.qos or 'normal'}"
        ),
        f"JobState={job.word} Reason={job.reason} Dependency=(null)",
        (
            f"Requeue={int(request.requeue)} Restarts={job.restarts} BatchFlag=1 Reboot=0"
            f" ExitCode={exit_code(job.raw_exit)}"
        ),
        f"RunTime={span(ran, padded=True)} TimeLimit={limit} TimeMin=N/A",
        f"SubmitTime={when(job.submit)} EligibleTime={when(job.eligible)}",
        f"AccrueTime={when(job.eligible)}",
        f"StartTime={when(job.start)} EndTime={when(end)} Deadline=N/A",
        f"SuspendTime=None SecsPreSuspend=0 LastSchedEval={when(call.now)} Scheduler=Main",
        f"Partition={job.partition} AllocNode:Sid=localhost:1",
        "ReqNodeList=(null) ExcNodeList=(null)",
        f"NodeList={node_list(job.nodes)}",
    ]
    if job.nodes:
        lines.append(f"BatchHost={job.nodes[0]}")
    return [
        *lines,
        (
            f"NumNodes={job.node_count} NumCPUs={job.cpus} NumTasks={request.tasks}"
            f" CPUs/Task={request.cpus_per_task} ReqB:S:C:T=0:0:*:*"
        ),
        f"TRES=cpu={job.cpus},node={job.node_count},billing={job.cpus}",
        "Socks/Node=* NtasksPerN:B:S:C=0:0:*:* CoreSpec=*",
        f"MinCPUsNode={request.cpus_per_task} {_memory(job, call)} MinTmpDiskNode=0",
        "Features=(null) DelayBoot=00:00:00",
        "OverSubscribe=OK Contiguous=0 Licenses=(null) Network=(null)",
        f"Command={request.command or '(null)'}",
        f"WorkDir={request.chdir}",
        f"StdErr={err}",
        "StdIn=/dev/null",
        f"StdOut={out}",
        "Power=",
    ]


def _streams(job: Job) -> tuple[str, str]:
    """Return the paths of a job's output and errors."""

    def path(name: str) -> str:
        whole = name if name.startswith("/") else f"{job.request.chdir}/{name}"
        return whole.replace("%j", str(job.id))

    out = path(job.request.output or f"slurm-{job.id}.out")
    return out, path(job.request.error) if job.request.error else out


def _memory(job: Job, call: Call) -> str:
    """Return what a job asked for: memory of a node, or of each CPU."""
    request = job.request
    if request.memory_mb is not None:
        return f"MinMemoryNode={size(request.memory_mb)}"
    per_cpu = request.memory_per_cpu_mb or call.model.config.mem_per_cpu_mb
    return f"MinMemoryCPU={size(per_cpu)}"


def _show_nodes(call: Call, names: list[str]) -> Answer:
    model = call.model
    if names and names[0] not in model.nodes:
        return Answer(1, f"Node {names[0]} not found\n")
    text = ""
    for node in model.nodes.values():
        if names and node.name != names[0]:
            continue
        gres = f"gpu:{node.gpu_type}:{node.gpus}" if node.gpus else "(null)"
        text += (
            f"NodeName={node.name} Arch=x86_64 CoresPerSocket=1 \n"
            f"   CPUAlloc={node.cpus_taken} CPUEfctv={node.cpus} CPUTot={node.cpus} CPULoad=0.00\n"
            f"   Gres={gres}\n"
            f"   NodeAddr=127.0.0.1 NodeHostName={model.config.host}"
            f" Version={model.config.version}\n"
            f"   RealMemory={node.memory_mb} AllocMem={node.memory_taken}\n"
            f"   State={node.state().upper()}\n\n"
        )
    return Answer(0, text)
