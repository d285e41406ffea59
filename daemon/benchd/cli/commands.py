"""What each command of ``benchctl`` asks, and how it shows the answer."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchd.cli.clusters import table as cluster_table
from benchd.cli.tables import ago, clean, job_state, short_ids, show, where
from benchd.cli.wire import OK, REFUSED, USAGE, Daemon, Stop, segment
from benchd.core.headline import NONE, cell_text

# Jobs that a human should look at, named by `status`; the rest is counted.
BLOCKED_SHOWN = 5


def emit(answer: Mapping[str, Any]) -> int:
    """Print an answer as JSON."""
    json.dump(answer, sys.stdout, indent=2, ensure_ascii=False)
    print()
    return OK


def status(daemon: Daemon, args: argparse.Namespace) -> int:
    """Show the daemon, its clusters, and how many jobs there are by state."""
    answer = daemon.get("/v1/status")
    if args.json:
        return emit(answer)
    own, jobs = answer["daemon"], answer["jobs"]
    print(
        f"benchd {own['version']}  pid {own['pid']}  up {ago(own['started_at'], own['now'])}"
        f"  state {own['state_dir']}"
    )
    print(f"inbox  {own['inbox']}")
    print(f"jobs   {'  '.join(f'{state} {n}' for state, n in jobs.items() if n) or 'none'}")
    if not own["store_writable"]:
        print("the state cannot be written: free space on its disk; nothing new is submitted")
    if own.get("draining"):
        print("draining: nothing new is submitted; `benchctl drain --off` goes on")
    for cluster, number in (own.get("strays") or {}).items():
        jobs_are = "1 job of our name is" if number == 1 else f"{number} jobs of our name are"
        print(f"{jobs_are} on {cluster} and in no book: see `benchctl reap {cluster} --dry-run`")
    for cluster, number in (own.get("orphaned") or {}).items():
        jobs_live = "1 job lives" if number == 1 else f"{number} jobs live"
        print(
            f"{jobs_live} on {cluster}, which is not in the configuration any more: put it back "
            "under this name and restart benchd, or cancel them there by hand"
        )
    blocked = answer.get("attention") or []
    for item in blocked[:BLOCKED_SHOWN]:
        why = clean(item["reason"] or item["class"])
        print(f"{item['id']} does not start ({why}): {clean(item['advice'])}")
    if len(blocked) > BLOCKED_SHOWN:
        print(f"and {len(blocked) - BLOCKED_SHOWN} more: see `benchctl jobs --state PENDING`")
    rejected = own.get("rejected") or {}
    if rejected.get("count"):
        files = "1 recipe was" if rejected["count"] == 1 else f"{rejected['count']} recipes were"
        print(
            f"{files} rejected: the mistakes are beside each in {rejected['folder']}; "
            "what you remove there is told of no more"
        )
    cluster_table(own["clusters"], own["now"])
    return OK


def clusters(daemon: Daemon, args: argparse.Namespace) -> int:
    """List, pause or resume clusters."""
    if args.action == "list":
        answer = daemon.get("/v1/clusters")
        if args.json:
            return emit(answer)
        cluster_table(answer["clusters"], answer["now"])
        return OK
    body = {"take_over": True} if args.action == "resume" and args.take_over else {}
    answer = daemon.post(f"/v1/clusters/{segment(args.name)}/{args.action}", body)
    if args.json:
        return emit(answer)
    if answer.get("was_paused") is False:
        print(f"{args.name} was not paused; a wait after a failure is over")
    else:
        print(f"{args.name} is {'paused' if answer['paused'] else 'resumed'}")
    return OK


def runs(daemon: Daemon, args: argparse.Namespace) -> int:
    """List the newest runs."""
    answer = daemon.get("/v1/runs", limit=args.limit)
    if args.json:
        return emit(answer)
    show(
        ("run", "name", "cluster", "phase", "outcome", "done", "age", "why"),
        [
            (
                r["id"],
                r["name"],
                r["cluster"],
                r["phase"],
                r["outcome"],
                f"{r['measurements']['done']}/{r['measurements']['total']}",
                ago(r["created"]),
                r["why"],
            )
            for r in answer["runs"]
        ],
        empty="no runs yet: drop a recipe into the inbox, or benchctl submit FILE",
        numbers=(5, 6),
        prose=(1, 7),
        spare=(2, 3, 6),
    )
    return OK


def jobs(daemon: Daemon, args: argparse.Namespace) -> int:
    """List jobs; ``services`` and ``clients`` are the same with one role."""
    role = {"services": "service", "clients": "client"}.get(args.command)
    answer = daemon.get("/v1/jobs", run=args.of_run, state=args.state, role=role)
    if args.json and role is not None:
        return emit({"schema": f"benchd.{args.command}/1", args.command: answer["jobs"]})
    if args.json:
        return emit(answer)
    job_table(answer["jobs"], shorten=args.state is None)
    return OK


def job_table(rows: Sequence[Mapping[str, Any]], *, shorten: bool) -> None:
    """Print jobs, with ids as short as they can be among all of them."""
    ids = [str(j["id"]) for j in rows]
    short = short_ids(ids) if shorten else {i: i for i in ids}
    show(
        ("job", "state", "slurm id", "where", "point", "repeat", "age", "detail"),
        [
            (
                short[str(j["id"])],
                job_state(j),
                j["slurm_id"],
                where(j),
                cell_text(j["cell"]),
                j["repeat"],
                ago(j["times"]["created"]),
                j["detail"],
            )
            for j in rows
        ],
        empty="no jobs",
        numbers=(5, 6),
        prose=(4, 7),
        spare=(6, 5, 3, 2, 4),
    )


def submit(daemon: Daemon, args: argparse.Namespace) -> int:
    """Hand recipes in; with --wait, stay until every run is over."""
    ids: list[str] = []
    mistakes: list[dict[str, Any]] = []
    for file, data in [(file, _read(file)) for file in args.files]:
        try:
            answer = daemon.submit(_basename(file), data, args.set or [])
        except Stop as stop:
            found = ((stop.answer or {}).get("error") or {}).get("mistakes")
            if not found:
                raise Stop(str(stop), stop.status, {**(stop.answer or {}), "runs": ids}) from stop
            for mistake in found:
                print(_mistake(file, mistake), file=sys.stderr)
            mistakes += [{"file": file, **mistake} for mistake in found]
            continue
        new = answer["runs"]
        ids += new
        for remark in answer.get("remarks", ()):
            print(f"benchctl: note: {remark}", file=sys.stderr)
        if not args.json:
            print("\n".join(new), flush=True)
    if args.json and mistakes:
        emit({"schema": "benchd.refusal/1", "mistakes": mistakes, "runs": ids})
    elif args.json:
        emit({"schema": "benchd.submitted/1", "runs": ids})
    worst = REFUSED if mistakes else OK
    if args.wait:
        from benchd.cli.follow import until_over  # noqa: PLC0415 - only who waits needs it

        worst = max([worst, *(until_over(daemon, run, quiet=args.json) for run in ids)])
    return worst


def _basename(file: str) -> str:
    return "stdin.yaml" if file == "-" else Path(file).name


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise Stop(f"cannot read {file}: {error.strerror}", USAGE) from error


def _mistake(file: str, mistake: Mapping[str, Any]) -> str:
    place = f"{file}:{mistake['line']}:{mistake['column']}" if mistake["line"] else file
    path = f"{mistake['path']}: " if mistake["path"] else ""
    return clean(f"{place}: {path}{mistake['what']}")


def show_thing(daemon: Daemon, args: argparse.Namespace) -> int:
    """Show everything about one run or job."""
    answer = daemon.get(f"/v1/things/{segment(args.thing)}")
    if args.json:
        return emit(answer)
    if answer["schema"] == "benchd.run/1":
        _show_run(answer)
    else:
        _show_job(answer)
    return OK


def _show_run(run: Mapping[str, Any]) -> None:
    outcome = f"{run['outcome']}" if run["outcome"] else run["phase"]
    print(f"run {run['id']}  {clean(run['name'])}  on {run['cluster']}  {outcome}")
    if run["why"]:
        print(f"why    {clean(run['why'])}")
    print(f"recipe {clean(run['recipe_path'])}  sha256 {run['recipe_sha256'][:12]}")
    print(f"age    {ago(run['created'])}")
    job_table(run["job_list"], shorten=True)


def _show_job(job: Mapping[str, Any]) -> None:
    facts = {
        "state": job_state(job),
        "detail": job["detail"],
        "waiting": job["waiting"],
        "run": f"{job['run']} on {job['cluster']}",
        "what": f"{job['role']} {job['name']}, kind {job['kind']}",
        "point": f"{cell_text(job['cell']) or NONE}, repeat {job['repeat']}, "
        f"attempt {job['attempt']}",
        "slurm": " ".join(
            str(job[k]) for k in ("slurm_id", "slurm_state", "reason", "nodes") if job[k]
        ),
        "endpoint": where(job) if job["endpoint"] else "",
        "exit": "" if job["exit_code"] is None else f"status {job['exit_code']}",
        "resources": ", ".join(f"{k}={v}" for k, v in job["resources"].items()),
        "used": ", ".join(f"{k} {v}" for k, v in job["used"].items()),
        "parameters": ", ".join(f"{k}={v}" for k, v in job["parameters"].items()),
        "targets": ", ".join(job["targets"]),
    }
    print(f"job {job['token']}")
    for name, value in facts.items():
        if value:
            print(f"  {name:<11}{clean(value)}")
    show(
        ("after", "from", "to", "because", "evidence"),
        [
            (
                f"{t['at'] - job['times']['created']:.1f}s",
                t["old"],
                t["new"],
                t["trigger"],
                t["evidence"]["source"],
            )
            for t in job["transitions"]
        ],
        empty="  it has not moved yet",
        numbers=(0,),
        prose=(4,),
        spare=(4,),
    )


def why(daemon: Daemon, args: argparse.Namespace) -> int:
    """Tell how a job came to where it is, and what benchd waits for now."""
    answer = daemon.get(f"/v1/jobs/{segment(args.job)}/why")
    if args.json:
        return emit(answer)
    for sentence in answer["sentences"]:
        print(clean(sentence))
    return OK


def cancel(daemon: Daemon, args: argparse.Namespace) -> int:
    """Ask for the end of a run, a job, or everything."""
    if bool(args.all) == bool(args.thing):
        raise Stop("say what to cancel: a run, a job, or --all", USAGE)
    path = "/v1/cancel" if args.all else f"/v1/things/{segment(args.thing)}/cancel"
    return _tokens(daemon.post(path, {"all": True} if args.all else {}), args, "ending")


def retry(daemon: Daemon, args: argparse.Namespace) -> int:
    """Make a new attempt of what failed."""
    return _tokens(daemon.post(f"/v1/things/{segment(args.thing)}/retry"), args, "new")


def _tokens(answer: Mapping[str, Any], args: argparse.Namespace, word: str) -> int:
    if args.json:
        return emit(answer)
    for token in answer["jobs"]:
        print(f"{word} {token}")
    if not answer["jobs"]:
        print("nothing to do: no job is concerned")
    return OK
