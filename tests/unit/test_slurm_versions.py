"""Which Slurm is known, and how."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.core.slurm_versions import VERSIONS, Known, known, read_version


@pytest.mark.parametrize(
    ("text", "version", "how"),
    [
        ("slurm-wlm 22.05.8", "22.05.8", Known.RUN),
        ("slurm 24.11.5", "24.11.5", Known.RUN),
        ("slurm 20.11.9", "20.11.9", Known.READ),
        ("slurm 23.11.0-0rc1", "23.11.0", Known.READ),
        ("slurm 25.11.1", "25.11.1", Known.READ),
        ("slurm 20.02.7", "20.02.7", Known.OLDER),
        ("slurm 27.05.0", "27.05.0", Known.NEWER),
        ("slurm 22.05", "22.05", Known.RUN),
        ("command not found", "", Known.UNKNOWN),
        ("", "", Known.UNKNOWN),
    ],
)
def test_a_version_is_known_or_not(text: str, version: str, how: Known) -> None:
    """What the tests run is told from what was only read, what is too old and what is new."""
    assert (version, how) == (read_version(text), known(read_version(text)))


def test_what_the_tests_run_is_what_is_said() -> None:
    """Only releases that a target of the Makefile brings up count as run."""
    assert ["22.05", "24.11"] == [row.release for row in VERSIONS if row.known is Known.RUN]
    assert sorted(row.release for row in VERSIONS) == [row.release for row in VERSIONS]
    assert all(row.differs for row in VERSIONS)


@given(st.text(max_size=40))
def test_any_text_has_a_version_or_none(text: str) -> None:
    """Whatever a login node prints, it is judged."""
    assert known(read_version(text)) in Known
