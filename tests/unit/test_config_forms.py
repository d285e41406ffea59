"""A configuration of another project is read as a cluster, and every other section is answered."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from benchd import config
from benchd.errors import ConfigError

THEIRS = """\
hpc:
  hostname: login.example.org
  username: u100
  key_filename: ~/.ssh/id_cluster
  port: 8822
slurm:
  account: p1
  partition: gpu
  time: "01:00:00"
  nodes: 1
  ntasks_per_node: 1
containers: {base_path: $HOME/images}
services_dir: recipes/services
clients_dir: recipes/clients
monitors_dir: recipes/monitors
scripts_dir: scripts
results_dir: results
logs_dir: logs
metrics_dir: metrics
monitoring: {enabled: true}
logging: {level: INFO}
benchmarks: {default_duration: 300}
"""


@pytest.mark.parametrize("link", ["hpc", "ssh"])
def test_their_sections_become_a_cluster(tmp_path: Path, link: str) -> None:
    """The link, the defaults and Apptainer; scripts of recipes are looked for beside the file."""
    file = tmp_path / "config.yaml"
    file.write_text(THEIRS.replace("hpc:", f"{link}:"))
    settings = config.load(file)
    cluster = settings.clusters["default"]
    assert cluster.ssh is not None
    assert ("login.example.org", "u100", 8822) == (
        cluster.ssh.host,
        cluster.ssh.user,
        cluster.ssh.port,
    )
    assert ("~/.ssh/id_cluster", "default") == (cluster.ssh.identity, settings.default_cluster)
    assert ("apptainer", "Apptainer", "$HOME/images") == (
        cluster.runtime.name,
        cluster.runtime.module,
        cluster.runtime.cache,
    )
    said = cluster.defaults.model_dump(exclude_none=True)
    assert {
        "account": "p1",
        "partition": "gpu",
        "time": "01:00:00",
        "nodes": 1,
        "ntasks_per_node": 1,
    } == said
    assert str(tmp_path) == settings.scripts_dir


def test_every_section_that_is_not_read_is_answered(tmp_path: Path) -> None:
    """Each answer stands at the section's line and names what takes its place."""
    file = tmp_path / "config.yaml"
    file.write_text(THEIRS)
    told = {remark.line: remark.what for remark in config.remarks(file)}
    assert [1, *range(12, 23)] == sorted(told)
    assert "`benchctl submit FILE`" in told[13]
    assert "`kind: prometheus`" in told[15]
    assert "looked for beside this file" in told[16]
    assert "`benchctl results`" in told[17]


def test_mistakes_in_their_form_stand_at_their_lines() -> None:
    """A password is refused with advice, and a slip is told with what was meant."""
    text = """\
        hpc: {hostname: a, password: hunter2}
        slurm: {accont: p1}
        """
    with pytest.raises(ConfigError) as caught:
        config.parse(dedent(text).encode(), "c.yaml")
    assert [
        (
            "c.yaml:1:20: clusters.default.ssh.password: passwords are not used; make a key with "
            "ssh-keygen and name it in identity"
        ),
        "c.yaml:2:9: clusters.default.defaults.accont: unknown key; did you mean account?",
    ] == str(caught.value).splitlines()


def test_our_own_form_has_no_remarks(tmp_path: Path) -> None:
    """Nothing is said of what needs no translation."""
    file = tmp_path / "benchd.yaml"
    file.write_text("clusters: {alpha: {local: true}}\n")
    assert () == config.remarks(file)
