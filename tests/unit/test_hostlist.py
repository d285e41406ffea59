"""Slurm's shorthand for hosts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.core.hostlist import HOSTS_MAX, expand, shown_hosts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("n1", ("n1",)),
        ("n1,n2", ("n1", "n2")),
        ("n[1-3,7],gpu-[01-02]", ("n1", "n2", "n3", "n7", "gpu-01", "gpu-02")),
        ("n[098-101]", ("n098", "n099", "n100", "n101")),
        ("r[1-2]n[1,3]", ("r1n1", "r1n3", "r2n1", "r2n3")),
        ("cn[1-2].site.org", ("cn1.site.org", "cn2.site.org")),
        ("n[3-1]", ("n[3-1]",)),
        ("n[1-", ("n[1-",)),
        ("n]1[", ("n]1[",)),
        ("n[a-b],m2", ("n[a-b]", "m2")),
        ("None assigned", ("None assigned",)),
    ],
)
def test_a_host_list_stands_for_names(text: str, expected: tuple[str, ...]) -> None:
    """Ranges with leading zeros, lists and products are expanded; what is none is a name."""
    assert expected == expand(text)


def test_a_bomb_of_brackets_is_bounded() -> None:
    """No more names are made than asked for, however many the list stands for."""
    assert ["r1c1n1", "r1c1n2"] == list(expand("r[1-9999]c[1-9999]n[1-9999]", limit=2))
    assert HOSTS_MAX == len(expand("r[1-5000]n[1-5000]"))
    assert ("n[1-999999999]",) == expand("n[1-999999999]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("n[1-3]", "n1, n2, n3"), ("n[1-64]", "n1, n2, n3 and 61 more"), ("", "")],
)
def test_a_sentence_names_the_first(text: str, expected: str) -> None:
    """Three names are shown, and how many more there are."""
    assert expected == shown_hosts(text)


@given(st.text(alphabet="n[]-,0123456789. é\x00", max_size=60))
def test_any_text_is_taken(text: str) -> None:
    """No list raises, and none is larger than its bound."""
    assert len(expand(text)) <= HOSTS_MAX
