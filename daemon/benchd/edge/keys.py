"""The SSH key and the known host keys, read as a login would read them.

A key that cannot work is found here, before a login node hears of it.
"""

from __future__ import annotations

from pathlib import Path

import asyncssh
from asyncssh.public_key import CERT_TYPE_USER, SSHOpenSSHCertificate

from benchd.config import SSHSettings
from benchd.edge import login


def check(settings: SSHSettings) -> str:
    """Return what key is offered; raise ``Unusable`` for files that no login can succeed with."""
    login.check_files(settings)
    if not login.names_key(settings):
        return f"as {settings.config} says"
    file = login.identity(settings)
    try:
        key = asyncssh.import_private_key(Path(file).read_bytes())
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as error:
        if isinstance(error, asyncssh.KeyEncryptionError) or "passphrase" in str(error).lower():
            raise login.Unusable(
                f"the SSH key {file} is protected by a passphrase, which nobody can type for "
                f"benchd: remove it with `ssh-keygen -p -N '' -f {file}`, or set ssh.identity to "
                "a key without one"
            ) from error
        raise login.Unusable(
            f"{file} is no private SSH key ({error}): set ssh.identity to one, or make one with "
            "`ssh-keygen -t ed25519`"
        ) from error
    return f"{file} ({key.get_algorithm()})"


def certificate_trouble(settings: SSHSettings) -> str:
    """Return why the certificate beside the key is refused, if there is one and it says so."""
    file = Path(f"{login.identity(settings)}-cert.pub")
    if not login.names_key(settings) or not file.is_file():
        return ""
    try:
        certificate = asyncssh.import_certificate(file.read_bytes())
        if isinstance(certificate, SSHOpenSSHCertificate):
            certificate.validate(CERT_TYPE_USER, login.user(settings))
    except (asyncssh.KeyImportError, OSError, ValueError) as error:
        return f"; its certificate {file} is no good ({error}): get a new one from your site"
    return ""


def knows(settings: SSHSettings) -> bool:
    """Tell whether known_hosts has any key of the login node."""
    file = login.known_hosts(settings)
    return bool(asyncssh.read_known_hosts(file).match(settings.host, "", settings.port)[0])
