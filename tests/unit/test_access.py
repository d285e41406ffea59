"""Who may do what, by the uid."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from benchd.access import Access, Right, Uids, access_of, uids_of
from benchd.api import guard
from benchd.api.answers import Problem
from benchd.config import AccessSettings
from benchd.errors import UserError

OWNER, FRIEND, GUEST, STRANGER = 1000, 1001, 1002, 1003  # uids
SHARED = 65534  # the uid that may stand for many users
ACCESS = Access(owner=OWNER, operators=frozenset({FRIEND}), readers=frozenset({GUEST}))


@pytest.mark.parametrize(
    ("uid", "right"),
    [
        (0, Right.OPERATE),
        (OWNER, Right.OPERATE),
        (FRIEND, Right.OPERATE),
        (GUEST, Right.READ),
        (STRANGER, Right.NOTHING),
        (-1, Right.NOTHING),
    ],
)
def test_rights_follow_from_the_uid(uid: int, right: Right) -> None:
    """Root and the owner may do everything, others what they were given, strangers nothing."""
    assert right is ACCESS.right_of(uid)


@pytest.mark.parametrize(
    ("uid", "needed", "said"),
    [
        (OWNER, Right.OPERATE, None),
        (FRIEND, Right.OPERATE, None),
        (GUEST, Right.READ, None),
        (GUEST, Right.OPERATE, "uid 1002 may ask this benchd, and change nothing"),
        (STRANGER, Right.READ, "this benchd belongs to uid 1000, and you are uid 1003"),
    ],
)
def test_who_is_refused_is_told_why(uid: int, needed: Right, said: str | None) -> None:
    """The answer names both users, and the setting to ask for."""
    if said is None:
        guard.check(uid, ACCESS, needed)
        return
    with pytest.raises(Problem, match=said) as caught:
        guard.check(uid, ACCESS, needed)
    assert "access." in caught.value.fix


def test_users_are_named_or_numbered() -> None:
    """A configuration names users of this machine; the owner needs no mention."""
    me = os.getuid()
    settings = AccessSettings(read=("1234",), operate=(pwd.getpwuid(me).pw_name,))
    assert Access(owner=7, readers=frozenset({1234}), operators=frozenset({me})) == access_of(
        settings, 7, Uids()
    )


def test_a_user_who_does_not_exist_is_refused() -> None:
    """A slip in a name is told at the start, not by a refusal later."""
    with pytest.raises(UserError, match=r"access\.operate: there is no user 'no-such-user'"):
        access_of(AccessSettings(operate=("no-such-user",)), 0, Uids())


@pytest.mark.parametrize(
    ("uid_map", "shared"),
    [
        ("0 0 4294967295\n", None),
        ("0 0 1\n998 998 1\n", SHARED),
        ("0 100000 65536\n", SHARED),
    ],
    ids=["everybody", "root and one user", "a container"],
)
def test_a_uid_that_stands_for_many_is_known(
    tmp_path: Path, uid_map: str, shared: int | None
) -> None:
    """Where not all users are mapped, the kernel shows the others under one uid."""
    for name, text in (("map", uid_map), ("overflow", f"{SHARED}\n")):
        (tmp_path / name).write_text(text)
    assert shared == uids_of(tmp_path / "map", tmp_path / "overflow").shared


def test_a_kernel_without_namespaces_tells_everybody_apart(tmp_path: Path) -> None:
    """Where there is no map, every uid is somebody's own."""
    assert Uids() == uids_of(tmp_path / "none")


@pytest.mark.real("user-namespaces")
def test_a_namespace_is_seen_from_inside() -> None:
    """In a real namespace of one user the uid of everybody else is no identity."""
    asked = "from benchd.access import uids_of; u = uids_of(); print(u.shared, 0 in u, 1234 in u)"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", asked],
        capture_output=True,
        text=True,
        check=True,
    )
    overflow = Path("/proc/sys/kernel/overflowuid").read_text().strip()
    assert f"{overflow} True False\n" == done.stdout


@pytest.mark.parametrize("owner", [OWNER, SHARED])
def test_a_shared_uid_has_no_right(owner: int) -> None:
    """Who might be anybody may do nothing, even when the owner or an operator has that uid too."""
    access = Access(
        owner=owner, operators=frozenset({SHARED}), readers=frozenset({SHARED}), shared=SHARED
    )
    assert (False, Right.NOTHING) == (access.is_trusted(SHARED), access.right_of(SHARED))
    with pytest.raises(Problem, match="does not tell this benchd who you are") as caught:
        guard.check(SHARED, access, Right.READ)
    assert "PrivateUsers=" in caught.value.fix


@pytest.mark.parametrize("uid", [1234, SHARED])
def test_rights_for_whom_nobody_can_recognise_are_refused(uid: int) -> None:
    """A user who is not mapped would never be let in, so the configuration is told so at once."""
    inside = Uids((range(1), range(998, 999)), SHARED)
    with pytest.raises(UserError, match=rf"access\.operate: .* uid {uid} cannot be told"):
        access_of(AccessSettings(operate=("998", str(uid))), 998, inside)
