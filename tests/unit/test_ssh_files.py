"""The key and known_hosts files that a login would use, looked at before any login."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import asyncssh
import pytest

from benchd.api.sockets import read_token
from benchd.config import HttpSettings, SSHSettings
from benchd.edge import keys
from benchd.edge.login import Unusable
from benchd.errors import UserError

PAIR = asyncssh.generate_private_key("ssh-ed25519")
PRIVATE = PAIR.export_private_key("openssh")

Write = Callable[..., SSHSettings]


@pytest.fixture
def settings(tmp_path: Path) -> Write:
    """Return a function that writes a key file and the settings that name it."""

    def write(data: bytes, *, name: str = "id", mode: int = 0o600) -> SSHSettings:
        file, hosts = tmp_path / name, tmp_path / "known_hosts"
        file.write_bytes(data)
        file.chmod(mode)
        hosts.write_text("")
        return SSHSettings(host="h", identity=str(file), known_hosts=str(hosts))

    return write


def test_a_key_that_works_is_named_with_its_kind(settings: Write, tmp_path: Path) -> None:
    """A key that can be loaded is described by its path and algorithm."""
    assert f"{tmp_path / 'id'} (ssh-ed25519)" == keys.check(settings(PRIVATE))


@pytest.mark.parametrize(
    ("data", "name", "mode", "said"),
    [
        (PAIR.export_public_key(), "id.pub", 0o644, "is the public key; give the private one"),
        (PAIR.export_public_key(), "id", 0o600, "is the public key"),
        (b"\x00\xff" * 200, "id", 0o600, "is no private SSH key"),
        (PRIVATE[:120], "id", 0o600, "is no private SSH key"),
        (b"", "id", 0o600, "is no private SSH key"),
        (PAIR.export_private_key("pkcs8-pem", "secret"), "id", 0o600, "ssh-keygen -p -N ''"),
        (PRIVATE, "id", 0o640, "run `chmod 600"),
    ],
    # Fixed names: worker processes must agree on them, and the keys are new in each.
    ids=["pub", "pub-renamed", "noise", "cut", "empty", "protected", "open"],
)
def test_a_key_that_cannot_work_is_said_with_its_fix(
    *, settings: Write, tmp_path: Path, data: bytes, name: str, mode: int, said: str
) -> None:
    """Public, damaged, protected and open keys are each told apart, with path and remedy."""
    with pytest.raises(Unusable) as caught:
        keys.check(settings(data, name=name, mode=mode))
    text = str(caught.value)
    wrong_advice = name.endswith(".pub") and "chmod" in text
    assert (said in text, str(tmp_path / name) in text, wrong_advice) == (True, True, False), text


@pytest.mark.parametrize(
    ("valid_before", "said"), [("+1h", ""), ("20200101", "Certificate expired"), (None, "")]
)
def test_an_expired_certificate_is_named_when_a_key_was_refused(
    settings: Write, tmp_path: Path, valid_before: str | None, said: str
) -> None:
    """Only a certificate that has run out is blamed, with the way out."""
    chosen = settings(PRIVATE)
    if valid_before:
        certificate = PAIR.generate_user_certificate(
            PAIR.convert_to_public(), "me", valid_before=valid_before
        )
        certificate.write_certificate(str(tmp_path / "id-cert.pub"))
    trouble = keys.certificate_trouble(chosen)
    assert (said in trouble, "get a new one" in trouble) == (True, bool(said))


@pytest.mark.parametrize(("mode", "refused"), [(0o440, False), (0o444, True)])
def test_what_systemd_hands_over_may_be_readable_for_its_group(
    settings: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, refused: bool
) -> None:
    """Files below $CREDENTIALS_DIRECTORY may have group bits; nobody else's may."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    given = settings(PRIVATE, mode=mode)
    token = tmp_path / "token"
    token.write_text("t" * 20)
    token.chmod(mode)
    http = HttpSettings(listen="127.0.0.1:0", token_file="$CREDENTIALS_DIRECTORY/token")
    outcomes = []
    for look in (lambda: keys.check(given), lambda: read_token(http)):
        try:
            look()
            outcomes.append(False)
        except (Unusable, UserError):
            outcomes.append(True)
    assert [refused, refused] == outcomes
