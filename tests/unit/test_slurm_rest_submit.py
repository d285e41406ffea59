"""Batch scripts in the words of slurmrestd: each resource is said, or refused by its name."""

from __future__ import annotations

import shlex
import subprocess
from typing import Any

import pytest

from benchd.core.script import sbatch_lines
from benchd.core.slurm_rest import VERSIONS
from benchd.core.slurm_rest_submit import options, request
from benchd.fields import Resources

# A value of every key; the real tests compare what becomes of it with what sbatch makes of it.
FULL: dict[str, Any] = {
    "nodes": 2, "ntasks": 4, "ntasks_per_node": 2, "cpus_per_task": 3, "mem": "4G",
    "mem_per_cpu": "512M", "time": "1-00:00:00", "partition": "gpu", "qos": "normal",
    "account": "p1", "gres": "gpu:a100:2", "gpus": "4", "gpus_per_node": "2", "gpus_per_task": "1",
    "constraint": "ib&fast", "exclusive": True, "reservation": "r1", "nodelist": "n[1-2]",
    "exclude": "n3", "signal": "TERM@60", "licenses": "m:1", "hint": "nomultithread",
    "threads_per_core": 1,
}  # fmt: skip


def number(value: int) -> dict[str, object]:
    """Return a number as later versions write it."""
    return {"set": True, "infinite": False, "number": value}


def job(version: str, *, requeue: bool = False, **asked: Any) -> dict[str, Any]:
    """Return what slurmrestd is told of a job with these resources."""
    lines = sbatch_lines(Resources(**asked), requeue=requeue)
    script = "\n".join(["#!/bin/bash", *lines, "# Job x", 'echo "$@"', "#SBATCH --mem=1G", ""])
    body = request(version=version, script=script, token="t-1", job_dir="/w/it's", k=3)
    told = body["job"]
    assert isinstance(told, dict)
    return told


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("key", Resources.model_fields)
def test_every_resource_is_said(version: str, key: str) -> None:
    """No key of a recipe is left out in any version: a job asks for more with it than without."""
    without, told = job(version), job(version, **{key: FULL[key]})
    assert without != told
    assert "mem" not in str(without)  # what stands behind the first command is no option


@pytest.mark.parametrize(
    ("version", "key", "value", "said"),
    [
        ("v0.0.38", "requeue", False, {"no_requeue": True}),
        ("v0.0.38", "requeue", True, {"requeue": True}),
        ("v0.0.42", "requeue", False, {"requeue": False}),
        ("v0.0.38", "mem", "4G", {"memory_per_node": "4G"}),
        ("v0.0.42", "mem", "4G", {"memory_per_node": number(4096)}),
        ("v0.0.42", "mem", "1K", {"memory_per_node": number(1)}),
        ("v0.0.42", "time", "00:00:30", {"time_limit": number(1)}),
        ("v0.0.42", "time", "0", {"time_limit": {"set": False, "infinite": True, "number": 0}}),
        ("v0.0.42", "gres", "gpu:2,nvme:1", {"tres_per_node": "gres/gpu:2,gres/nvme:1"}),
        ("v0.0.42", "gpus_per_task", "a100:2", {"tres_per_task": "gres/gpu:a100=2"}),
        ("v0.0.42", "signal", "B:USR1@90", {"kill_warning_signal": "USR1",
                                             "kill_warning_flags": ["BATCH_JOB"]}),
        ("v0.0.38", "nodes", 3, {"nodes": "3", "tasks": 3}),
    ],
)  # fmt: skip
def test_a_resource_in_the_words_of_a_version(
    version: str, key: str, value: Any, said: dict[str, Any]
) -> None:
    """Numbers, times and generic resources are said as that version reads them."""
    asked = {} if key == "requeue" else {key: value}
    told = job(version, requeue=key == "requeue" and value, **asked)
    assert said == {name: told.get(name) for name in said}


def test_generic_resources_of_two_keys_are_both_said() -> None:
    """Later versions have one key for gres and gpus_per_node; neither replaces the other."""
    told = job("v0.0.42", gres="nvme:1", gpus_per_node="2")
    assert "gres/nvme:1,gres/gpu:2" == told["tres_per_node"]


@pytest.mark.parametrize(
    ("version", "asked", "message"),
    [
        ("v0.0.38", {"signal": "B:TERM@60"}, "resources.signal: B:TERM@60 is for the batch shell"),
        ("v0.0.42", {"hint": "compute_bound"}, "resources.hint: compute_bound cannot be said"),
    ],
)
def test_what_has_no_word_is_refused_by_name(
    version: str, asked: dict[str, Any], message: str
) -> None:
    """The message names the key and the value."""
    with pytest.raises(ValueError, match=message):
        job(version, **asked)


def test_an_option_that_nobody_knows_is_refused_by_name() -> None:
    """An #SBATCH line that is new to the script is not silently left out."""
    script = "#!/bin/bash\n#SBATCH --burst-buffer=x\n"
    with pytest.raises(ValueError, match=r"resources.burst_buffer cannot be said to slurmrestd"):
        request(version="v0.0.38", script=script, token="t", job_dir="/w", k=1)


def test_the_script_gets_its_arguments_and_its_options_are_read() -> None:
    """The script is the same but for one line, after which $1 and $2 are what sbatch would give."""
    script = '#!/bin/bash\n#SBATCH --time=5\n\n#SBATCH --hold\nprintf "%s|" "$@"\n#SBATCH --mem=1\n'
    body = request(version="v0.0.38", script=script, token="t", job_dir="/w/it's $HOME", k=7)
    sent = body["script"]
    assert isinstance(sent, str)
    assert [("time", "5"), ("hold", "")] == list(options(script)) == list(options(script))
    assert script == sent.replace(f"set -- {shlex.quote('/w/it' + chr(39) + 's $HOME')} 7\n", "")
    ran = subprocess.run(["bash"], input=sent, capture_output=True, text=True, check=True)
    assert "/w/it's $HOME|7|" == ran.stdout


def test_argv_is_never_sent() -> None:
    """It would end a slurmrestd of 22.05, and with it everybody's."""
    assert [] == [version for version in VERSIONS if "argv" in job(version)]
