"""Whatever a recipe says: it is refused, or it stays data, down to the words that programs get."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from benchd.catalog import CATALOG
from benchd.catalog.kinds import word
from benchd.config import RuntimeSettings
from benchd.core.expand import expand
from benchd.core.model import Job
from benchd.core.payload import Sh
from benchd.core.recipe import parse
from benchd.core.script import sbatch_lines
from benchd.core.spec import JobSpec, Role
from benchd.edge import submission
from benchd.edge.submission import Place, SubmitOrder
from benchd.errors import RecipeError
from benchd.fields import Resources
from support.script_cases import SHIP

# What has broken templates before. Each would leave its mark if any of it ran.
PIECES = (
    "\n#SBATCH --output=/etc/passwd\ntouch PWNED",
    "\r\n#SBATCH --uid=0",
    "#SBATCH --uid=0",
    "$(touch PWNED)",
    "`touch PWNED`",
    "; touch PWNED;",
    "' ; touch PWNED ; '",
    '" ; touch PWNED ; "',
    "$'\\n'touch PWNED",
    "%j/../../x",
    "\0",
    "--export=ALL,LD_PRELOAD=/x.so",
    "${HOME}",
    "$BENCHD_PORT",
    "$(BENCHD_PORT",
    "\\",
    "a" * 4096,
    "trailing\n",
    "\u2028touch PWNED\u2028",
    "\x85touch PWNED",
    "\x1b[2J",
    "{a,b} * ? ~root !! =( <(id) >x",
    "EOF",
    "}\ntouch PWNED\n{",
    "-rf",
    "",
)
HOSTILE = st.lists(st.sampled_from(PIECES) | st.text(max_size=6), min_size=1, max_size=3).map(
    "".join
)
QUIET = HOSTILE.map(lambda text: "".join(c for c in text if c.isprintable())[:4096])
RESOURCES = st.sampled_from(sorted(Resources.model_fields))
ENV_NAMES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True) | HOSTILE
APPTAINER = RuntimeSettings(name="apptainer")
SETTINGS: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def sometimes(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return the strategy, or nothing: a recipe of which all is hostile is always refused."""
    return st.none() | st.none() | strategy


def containers(text: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Return containers in which any text may be hostile."""
    path = text | text.map("$HOME/{}".format)
    binds = st.lists(text, max_size=2)
    return st.fixed_dictionaries({"docker_source": text, "image_path": path, "bind_mounts": binds})


@st.composite
def parts(draw: st.DrawFn, role: Role) -> dict[str, Any]:
    """Return a service or client in which any text may be hostile."""
    text = draw(st.sampled_from([QUIET, QUIET, HOSTILE]))
    kinds = ("redis", "sim-llm", "generic") if role is Role.SERVICE else ("redis-benchmark",)
    kind = draw(st.sampled_from((*kinds, "generic")))
    book = CATALOG.services if role is Role.SERVICE else CATALOG.clients
    parameters = [parameter.name for parameter in book[kind].parameters]
    part: dict[str, Any] = {
        "name": draw(sometimes(text)) or role.value,
        "kind": kind,
        "description": draw(sometimes(text)),
        "command": draw(sometimes(text)) or ("run it" if kind == "generic" else None),
        "args": draw(st.lists(text, max_size=3)),
        "environment": draw(sometimes(st.dictionaries(ENV_NAMES, text, max_size=2))),
        "container": draw(sometimes(containers(text))),
        "resources": draw(sometimes(st.dictionaries(RESOURCES, text, max_size=1))),
    }
    if parameters:
        names = st.sampled_from(parameters)
        part["parameters"] = draw(sometimes(st.dictionaries(names, text, max_size=1))) or {}
    if role is Role.SERVICE:
        part["secrets"] = draw(
            sometimes(st.dictionaries(ENV_NAMES, st.just({"generate": 24}), max_size=1))
        )
        part["health_check"] = draw(sometimes(st.fixed_dictionaries({"endpoint": text})))
    else:
        part["target_service"] = {"name": draw(sometimes(text)) or "service"}
    return {key: value for key, value in part.items() if value is not None}


def jobs(recipe: Mapping[str, Any], runtime: RuntimeSettings) -> tuple[Job, ...] | None:
    """Return the jobs of a recipe, or None when it is refused; nothing else may come of it."""
    try:
        text = json.dumps(recipe, ensure_ascii=False).encode("utf-8", "surrogatepass")
        parsed = parse(text, "web.yaml", CATALOG)
    except RecipeError as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", said)
        return None
    return expand(
        parsed,
        run_id="k5wz3tqa2f",
        instance="bq7x2m",
        cluster="here",
        defaults=Resources(),
        runtime=runtime,
        catalog=CATALOG,
        ship=SHIP,
        now=0.0,
    )


def bash_accepts(text: str) -> bool:
    """Ask bash itself whether a script parses."""
    done = subprocess.run(["bash", "-n"], input=text.encode(), capture_output=True, check=False)
    return (done.returncode, done.stderr) == (0, b"")


def contained(spec: JobSpec, runtime: RuntimeSettings) -> bool:
    """Tell whether the job runs in a container."""
    box = spec.container
    return runtime.name != "none" and box is not None and bool(box.image_path or box.docker_source)


def check_text(job: Job, runtime: RuntimeSettings) -> None:
    """Check that sbatch and bash read in a script what benchd meant."""
    lines = job.script.split("\n")
    expected = sbatch_lines(job.spec.resources, requeue=job.spec.restart.requeue)
    assert expected == [line for line in lines if line.lstrip().startswith("#SBATCH")]
    assert expected == lines[1 : 1 + len(expected)]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", job.script)
    assert bash_accepts(job.script)
    payload = job.script.split("benchd_payload() {\n")[1].split("\n}\nbenchd_run")[0]
    words = shlex.split(payload.split("\n")[-1].removesuffix(" < <(benchd_redis_lock)"))
    prefix = f"{runtime.name.upper()}ENV_" if contained(job.spec, runtime) else ""
    for name, value in job.spec.environment.items():
        assert f"{prefix}{name}={value}" in words
    given_args = [_as_words(text) for text in job.spec.args]
    assert given_args == words[len(words) - len(given_args) :]


def _as_words(text: str) -> str:
    """Return an argument as shlex shows it: variables that may be used stay as they are written."""
    argument = word(text)
    return shlex.split(argument.text)[0] if isinstance(argument, Sh) else argument


@settings(max_examples=150, **SETTINGS)
@given(
    service=parts(Role.SERVICE),
    client=st.none() | parts(Role.CLIENT),
    name=sometimes(HOSTILE),
    runtime=st.sampled_from([RuntimeSettings(), APPTAINER]),
)
def test_a_recipe_is_refused_or_stays_data(
    service: dict[str, Any],
    client: dict[str, Any] | None,
    name: str | None,
    runtime: RuntimeSettings,
) -> None:
    """Scripts have the expected #SBATCH lines and no other, and every text as one quoted word."""
    recipe = {"service": service} | ({"client": client} if client else {})
    found = jobs(recipe | ({"name": name} if name is not None else {}), runtime)
    event("refused" if found is None else "accepted")
    for job in found or ():
        check_text(job, runtime)


LINE_FIELDS = ("args", "environment", "bind_mounts", "docker_source", "description")
WORD_FIELDS = ("partition", "account", "qos", "constraint", "nodelist", "signal", "gres", "time")
NAME_FIELDS = ("name", "kind", "target")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
HARMLESS_WORDS = frozenset({"EOF"})


def with_text(field: str, text: str) -> dict[str, Any]:
    """Return a good recipe in which one field says this."""
    service: dict[str, Any] = {"name": "web", "kind": "generic", "command": "run it"}
    recipe: dict[str, Any] = {"service": service}
    if field in WORD_FIELDS:
        service["resources"] = {field: text}
    elif field in ("bind_mounts", "docker_source"):
        service["container"] = {"docker_source": "redis:7"}
        service["container"] |= {field: [text] if field == "bind_mounts" else text}
    elif field == "environment":
        service["environment"] = {"A": text}
    elif field == "target":
        recipe["client"] = {"name": "generic", "command": "x", "target_service": {"name": text}}
    else:
        service[field] = [text] if field == "args" else text
    return recipe


@pytest.mark.parametrize("field", [*LINE_FIELDS, *WORD_FIELDS, *NAME_FIELDS])
def test_each_field_takes_what_it_may_and_no_more(field: str) -> None:
    """Texts take any one line, Slurm's words and names nothing of this; what is taken is data."""
    for text in PIECES:
        found = jobs(with_text(field, text), APPTAINER)
        good = text in HARMLESS_WORDS if field in WORD_FIELDS[:-1] else field in LINE_FIELDS
        if field == "docker_source":  # not what a runtime would take for one of its options
            good = bool(text) and not text.startswith("-")
        assert (found is not None) == (good and not CONTROL.search(text)), (field, text)
        for job in found or ():
            check_text(job, APPTAINER)


@pytest.mark.parametrize("field", WORD_FIELDS[:-1])
@pytest.mark.parametrize("end", ["\n", "\r", " ", "\0", "\u2028"])
def test_a_good_word_with_a_line_end_is_no_good_word(field: str, end: str) -> None:
    """Expressions that end in $ let a line end pass in many libraries; not here."""
    assert jobs(with_text(field, "debug"), APPTAINER) is not None
    assert jobs(with_text(field, f"debug{end}"), APPTAINER) is None


# --- and when bash really runs it -------------------------------------------------------------

# Writes down what it was given, each text ended by a NUL, and that it was run at all.
DUMP = 'printf "%s\\0" "${0##*/}" "$@" >>"$DUMPED"\nenv -0 >>"$DUMPED.env"\n'
NEEDED = (
    "bash cat cut date dirname env getent head hostname ln mkdir mv readlink rm sleep stat tail"
)
NEEDED += " timeout uname sort seq printf"


def machine(home: Path) -> dict[str, str]:
    """Return an environment in which every program but the harmless few only dumps its words."""
    tools = home / "tools"
    tools.mkdir()
    for name in NEEDED.split():
        found = shutil.which(name)
        if found:
            (tools / name).symlink_to(found)
    for name in ("run", "touch", "id", "apptainer", "redis-server", "python3", "sh", "sbatch"):
        (tools / name).write_text(f"#!{shutil.which('bash')}\n{DUMP}")
        (tools / name).chmod(0o755)
    return {"PATH": str(tools), "HOME": str(home), "DUMPED": str(home / "dumped")}


def names(home: Path) -> list[str]:
    """Return what lies in a folder, the newest words of programs last."""
    found = {path.name for path in home.iterdir()}
    last = [name for name in ("dumped", "dumped.env") if name in found]
    return [*sorted(found - set(last)), *last]


def dumped(home: Path) -> list[str]:
    """Return all words of all programs that were run."""
    file = home / "dumped"
    return file.read_bytes().decode().split("\0")[:-1] if file.exists() else []


def test_the_dumping_machine_would_notice(tmp_path: Path) -> None:
    """A naive template, run on the same machine, does what the recipe says."""
    env = machine(tmp_path)
    text = f"#!/bin/bash\n#SBATCH --job-name={PIECES[0]}\nrun {PIECES[3]}\n"
    subprocess.run(["bash", "-c", text], env=env, cwd=tmp_path, check=True)
    assert "touch" in dumped(tmp_path)


ARGUMENTS = st.lists(QUIET | st.sampled_from([p for p in PIECES if p.isprintable()]), max_size=4)


@settings(max_examples=15, **SETTINGS)
@given(args=ARGUMENTS, values=st.lists(QUIET, min_size=1, max_size=2), boxed=st.booleans())
def test_a_program_gets_exactly_the_words_of_the_recipe(
    args: list[str], values: list[str], boxed: bool
) -> None:
    """Run by real bash, arguments, variables and mounts arrive byte for byte; nothing else runs."""
    variables = {f"V{i}": value for i, value in enumerate(values)}
    service: dict[str, Any] = {"name": "web", "kind": "generic", "command": "run it", "args": args}
    service |= {"environment": variables, "ports": []}
    if boxed:
        service["container"] = {"image_path": "$HOME/tools/sh", "bind_mounts": values}
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        job = one_job(service)
        place = home / "W" / "runs" / "r" / "jobs" / "t"
        (place / "try-1").mkdir(parents=True)
        (place / "script.sh").write_text(job.script)
        env = machine(home) | {"SLURM_JOB_ID": "7", "JOB": "?"}
        before = names(home)
        done = subprocess.run(
            ["bash", place / "script.sh", place, "1"],
            env=env,
            cwd=home,
            capture_output=True,
            check=False,
        )
        words, given_env = dumped(home), (home / "dumped.env").read_bytes().split(b"\0")
        assert (0, b"") == (done.returncode, done.stderr)
        assert names(home) == [*before, "dumped", "dumped.env"]
    expected = [expanded(text, place, home) for text in ("run", "it", *args)]
    assert expected == (words[len(words) - len(expected) :] if boxed else words)
    assert boxed == (words[0] == "apptainer")
    prefix = "APPTAINERENV_" if boxed else ""
    for key, value in variables.items():
        assert f"{prefix}{key}={value}".encode() in given_env
    if boxed:
        binds = [words[i + 1] for i, text in enumerate(words[:-1]) if text == "--bind"]
        assert [str(place), *(leading(value, home) for value in values)] == binds[: 1 + len(values)]


def one_job(service: dict[str, Any]) -> Job:
    """Return the job of a service that is not refused."""
    service["ports"] = [20_000 + os.getpid() % 10_000]
    found = jobs({"service": service}, APPTAINER)
    assert found is not None
    return found[0]


KNOWN = {"HOME", "JOB", "BENCHD_PORT"}  # of the variables that may be used, those in PIECES


def expanded(text: str, job: Path, home: Path) -> str:
    """Return an argument with the variables filled in that benchd documents."""
    port = str(20_000 + os.getpid() % 10_000)
    values = {"HOME": str(home), "JOB": str(job), "BENCHD_PORT": port}
    return re.sub(
        r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))",
        lambda m: values.get(m[1] or m[2], m[0]) if (m[1] or m[2]) in KNOWN else m[0],
        text,
        flags=re.ASCII,
    )


def leading(text: str, home: Path) -> str:
    """Return a path with its leading variable filled in, the only one that paths have."""
    port = str(20_000 + os.getpid() % 10_000)
    for names, value in ((r"~|\$HOME|\$\{HOME\}", str(home)), (r"\$BENCHD_PORT", port)):
        text = re.sub(rf"^(?:{names})(?=[/:]|\Z)", lambda _, value=value: value, text)
    return text


# --- commands on the login node ---------------------------------------------------------------

TOKENS = QUIET.filter(lambda text: text.strip("./") and len(text.encode()) < 200).map(
    lambda text: text.replace("/", "_")
)


@settings(max_examples=15, **SETTINGS)
@given(token=TOKENS, folder=TOKENS, body=st.text(st.characters(exclude_categories=("Cs",))))
def test_a_submission_quotes_whatever_names_there_are(token: str, folder: str, body: str) -> None:
    """Whatever token and workdir: sbatch gets exactly these words, files are byte for byte."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        env = machine(home)
        work = home / folder
        work.mkdir(exist_ok=True)
        (work / "epoch-abcdef-alpha").write_text("1\n")
        secrets = {"A_KEY": "".join(c for c in body if c.isprintable())}
        script = "#!/bin/bash\n" + body.replace("\0", "")
        order = SubmitOrder(
            token=token,
            run_id="r",
            k=1,
            attempted_at=0.0,
            script=script,
            make_run_dir=True,
            secrets=secrets,
        )
        place = Place(workdir=str(work), instance="abcdef", cluster="alpha", epoch=1)
        stdin, lengths = submission.payload(order)
        command = submission.command(order, place, lengths)
        assert "\n" not in command
        before = names(home)
        done = subprocess.run(
            ["bash", "--norc", "-c", command],
            input=stdin,
            env=env | {"LC_ALL": "C"},
            cwd=home,
            capture_output=True,
            check=False,
        )
        tried = work / "runs" / "r" / "jobs" / token / "try-1"
        job = tried.parent
        assert (0, b"") == (done.returncode, done.stderr)
        assert script == (tried / "script.sh").read_bytes().decode()
        assert [
            *("sbatch", "--parsable", f"--job-name={token}", f"--output={job}/%j.out"),
            *(f"--error={job}/%j.err", "--open-mode=append", f"--chdir={job}", "--export=NONE"),
            *(str(tried / "script.sh"), str(job), "1"),
            *("touch", "-c", str(job)),  # what time is it there?
        ] == dumped(home)
        assert names(home) == [*before, "dumped", "dumped.env"]
        told = subprocess.run(
            ["bash", "-c", '. "$1" && printf %s "$A_KEY"', "-", tried / "secret.env"],
            capture_output=True,
            check=True,
        )
        assert secrets["A_KEY"] == told.stdout.decode()
        sealed = ["bash", "--norc", "-c", submission.seal("r", token, 1, place)]
        subprocess.run(sealed, env=env, cwd=home, check=True, capture_output=True)
        assert Path("sealed") == (job / "claim").readlink()
        assert names(home) == [*before, "dumped", "dumped.env"]
