"""Who may do what, by the uid."""

from __future__ import annotations

import os
import pwd

import pytest

from benchd.access import Access, Right, access_of
from benchd.api import guard
from benchd.api.answers import Problem
from benchd.config import AccessSettings
from benchd.errors import UserError

OWNER, FRIEND, GUEST, STRANGER = 1000, 1001, 1002, 1003  # uids
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
        settings, 7
    )


def test_a_user_who_does_not_exist_is_refused() -> None:
    """A slip in a name is told at the start, not by a refusal later."""
    with pytest.raises(UserError, match=r"access\.operate: there is no user 'no-such-user'"):
        access_of(AccessSettings(operate=("no-such-user",)), 0)
