"""The configuration file: where it is looked for, what it may say, and how mistakes are told."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest

from benchd import config
from benchd.config import (
    AccessSettings,
    Budget,
    ClusterSettings,
    HttpSettings,
    PollSettings,
    RestSettings,
    RuntimeSettings,
    Settings,
    SSHSettings,
)
from benchd.core.schemas import schema
from benchd.errors import ConfigError, UserError

MODELS = (
    Settings,
    ClusterSettings,
    SSHSettings,
    RestSettings,
    RuntimeSettings,
    PollSettings,
    Budget,
    HttpSettings,
    AccessSettings,
)
EXAMPLE = Path(__file__).parents[2] / "config" / "benchd.yaml"


def mistakes(text: str) -> list[str]:
    """Return the messages about a configuration, one per mistake."""
    with pytest.raises(ConfigError) as caught:
        config.parse(dedent(text).encode(), "benchd.yaml")
    return str(caught.value).splitlines()


def test_every_mistake_is_told_at_once() -> None:
    """Types, unknown keys and what belongs together are judged in one reading."""
    text = """\
        default_cluster: melluxina
        clusters:
          meluxina:
            ssh: {hostname: login.example.org, port: 0}
            workdir: benchd
            poll: {interval: 5s, floor: 20}
            runtime: {name: docker}
          other: {}
        hpc: {}
        """
    expected = [
        (
            "benchd.yaml:1:18: default_cluster: there is no cluster called 'melluxina'; "
            "did you mean meluxina?"
        ),
        "benchd.yaml:4:11: clusters.meluxina.ssh.hostname: unknown key; did you mean host?",
        "benchd.yaml:4:46: clusters.meluxina.ssh.port: must be at least 1, not 0",
        (
            "benchd.yaml:5:14: clusters.meluxina.workdir: must be an absolute path or start "
            "with $HOME, not 'benchd'"
        ),
        (
            "benchd.yaml:6:22: clusters.meluxina.poll.interval: 5 s is too often for a shared "
            "cluster: at least 10 s (testbed: true lifts this on one of your own)"
        ),
        (
            "benchd.yaml:7:21: clusters.meluxina.runtime.name: must be one of none, apptainer, "
            "singularity, charliecloud, podman, enroot, pyxis, not 'docker'"
        ),
        (
            "benchd.yaml:8:10: clusters.other: how to reach it is missing; "
            "add ssh: {host: ...}, or local: true"
        ),
        "benchd.yaml:9:1: hpc: stands beside clusters: here; write it as one of them",
    ]
    assert expected == mistakes(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: the document is empty; it must be a mapping of keys and values"),
        (
            "clusters: {}\n",
            "1:11: clusters: no cluster; add one: clusters: {NAME: {ssh: {host: ...}}}",
        ),
        (
            "clusters: {A B: {local: true}}\n",
            (
                "1:12: clusters['A B']: the key must be a name of up to 32 lower-case letters, "
                "digits and inner dashes"
            ),
        ),
        (
            "clusters: {a: {local: true}, b: {local: true}}\n",
            "1:1: add default_cluster: there are several clusters (a, b)",
        ),
        (
            "clusters: {a: {ssh: {host: h}, local: true}}\n",
            "1:39: clusters.a.local: write either ssh: or local: true, not both",
        ),
        (
            "clusters: {a: {local: true, poll: {interval: 20s}}}\n",
            (
                "1:46: clusters.a.poll.interval: 20 s is below the floor of 30 s; "
                "lower poll.floor too"
            ),
        ),
        (
            "clusters: {a: {local: true, testbed: true, poll: {interval: 1, floor: 2}}}\n",
            "1:61: clusters.a.poll.interval: 1 s is below the floor of 2 s; lower poll.floor too",
        ),
        (
            "clusters: {a: {ssh: {host: h, password: x}}}\n",
            (
                "1:31: clusters.a.ssh.password: passwords are not used; "
                "make a key with ssh-keygen and name it in identity"
            ),
        ),
        (
            "clusters: {a: {local: true}}\nhttp: {listen: 9469}\n",
            "2:16: http.listen: must be address:port such as 127.0.0.1:9469, not '9469'",
        ),
        (
            "clusters: {a: {local: true}}\nstate_dir: benchd\n",
            "2:12: state_dir: must be an absolute path or start with ~ or $HOME, not 'benchd'",
        ),
    ],
)
def test_one_mistake_is_one_sentence(text: str, expected: str) -> None:
    """What does not fit together is said with the value and what to do."""
    assert [f"benchd.yaml:{expected}"] == mistakes(text)


@pytest.mark.parametrize("workdir", ["/scratch/me", "$HOME/b", "${SCRATCH}/b", "$WORK", "~/b"])
def test_workdir_may_start_with_a_variable(workdir: str) -> None:
    """The shared directory is absolute, or becomes so on the login node."""
    settings = config.parse(
        f"clusters: {{a: {{local: true, workdir: '{workdir}'}}}}\n".encode(), "benchd.yaml"
    )

    assert workdir == settings.clusters["a"].workdir


def test_the_only_cluster_is_the_default() -> None:
    """One cluster needs no default_cluster."""
    expected = "alpha"
    found = config.parse(b"clusters: {alpha: {local: true}}\n", "benchd.yaml").default_cluster

    assert expected == found


def test_a_testbed_may_be_polled_often() -> None:
    """The floors on polling are for clusters that are shared."""
    text = b"clusters: {a: {local: true, testbed: true, poll: {interval: 1s, floor: 500ms}}}\n"
    poll = config.parse(text, "benchd.yaml").clusters["a"].poll

    expected = (1.0, 0.5)
    assert expected == (poll.interval, poll.floor)


def test_the_example_loads_and_its_comments_are_true() -> None:
    """Values that are not marked as examples are the defaults."""
    settings = config.load(EXAMPLE)
    cluster = settings.clusters["mycluster"]
    plain = ClusterSettings()

    kept = ("workdir", "poll", "budget", "max_jobs", "patience", "message_timeout", "testbed")
    assert [getattr(plain, key) for key in kept] == [getattr(cluster, key) for key in kept]
    assert Settings().http == settings.http
    assert Settings().scan_interval == settings.scan_interval


def test_the_example_shows_every_setting() -> None:
    """A setting that is added to the classes is added to the example."""
    text = EXAMPLE.read_text()
    keys = [key for model in MODELS for key in model.model_fields]

    shown = [key for key in keys if re.search(rf"^\s*(# )?{key}:", text, re.MULTILINE)]
    assert keys == shown


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    """Without a configuration the message names the places and how to get one."""
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    with pytest.raises(UserError) as caught:
        config.find(None, environ)

    said = str(caught.value)
    assert f"{tmp_path}/benchd/benchd.yaml and /etc/benchd/benchd.yaml are missing" in said
    assert "Copy config/benchd.yaml" in said


def test_the_file_is_found_in_order(tmp_path: Path) -> None:
    """The option wins over $BENCHD_CONFIG, which wins over the user's own directory."""
    own = tmp_path / "benchd" / "benchd.yaml"
    own.parent.mkdir()
    named, given = tmp_path / "named.yaml", tmp_path / "given.yaml"
    for file in (own, named, given):
        file.touch()
    home = {"XDG_CONFIG_HOME": str(tmp_path)}

    assert own == config.find(None, home)
    assert named == config.find(None, {**home, "BENCHD_CONFIG": str(named)})
    assert given == config.find(given, {**home, "BENCHD_CONFIG": str(named)})


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    """A directory in place of the file is no traceback."""
    with pytest.raises(UserError, match=r"cannot read the configuration .*: Is a directory"):
        config.load(tmp_path)


def test_the_schema_knows_every_key() -> None:
    """The JSON Schema of the configuration has the keys of the model and refuses others."""
    described = schema("config")

    assert list(Settings.model_fields) == list(described["properties"])  # type: ignore[arg-type]  # an object
    assert described["additionalProperties"] is False


REST = """\
clusters:
  a:
    {rest}
    {files}
"""


@pytest.mark.parametrize(
    ("rest", "files", "expected"),
    [
        ("rest: {url: 'http://h:6820', token_file: /t}", "local: true", []),
        ("rest: {url: 'unix:/run/s.sock'}", "ssh: {host: h}", []),
        (
            "rest: {url: 'unix:/run/s.sock'}",
            "workdir: /w",
            [
                "clusters.a.rest: slurmrestd starts jobs but brings no file home: no results",
            ],
        ),
        (
            "rest: {url: 'http://h:6820'}",
            "local: true",
            ["clusters.a.rest: slurmrestd wants a token over TCP; add token_file or token_command"],
        ),
        (
            "rest: {url: 'http://h:6820', token_file: /t, version: v0.0.37}",
            "local: true",
            ["clusters.a.rest.version: must be one of auto, v0.0.38, v0.0.39"],
        ),
        (
            "rest: {url: 'h:6820', token_file: /t, token_command: x}",
            "local: true",
            [
                "clusters.a.rest.url: must be like http://host:6820 or unix:/run/slurmrestd.sock",
                "clusters.a.rest.token_command: write either token_file or token_command",
            ],
        ),
    ],
)
def test_slurmrestd_needs_a_way_for_files_and_a_token(
    rest: str, files: str, expected: list[str]
) -> None:
    """What rest: lacks is said at its place, with what to add."""
    told = [] if not expected else mistakes(REST.format(rest=rest, files=files))
    if not expected:
        config.parse(REST.format(rest=rest, files=files).encode(), "benchd.yaml")
    assert [True] * len(expected) == [e in t for e, t in zip(expected, told, strict=True)]
