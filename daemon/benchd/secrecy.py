"""What is a secret by its name, and how text is shown without the secrets in it."""

from __future__ import annotations

import re

REDACTED = "[redacted]"

# "token" alone names a job here, and "tokens" are what a language model counts in.
_NAMES = (
    r"(?:(?:pass(?:word|wd|phrase)|secret|credential|(?:api|private|access)[_-]?key)s?|"
    r"authorization|bearer|cookie|[a-z0-9]+[_-]token|token[_-]file[_-]content|"
    r"[a-z0-9]+_pwd|rediscli_auth)"
)
_NAME = re.compile(rf"{_NAMES}$", re.IGNORECASE)
# the same names inside a text, before = or : and a value; and the password in a URL
_TEXT = re.compile(
    rf"({_NAMES}[\"']?\s*[=:]\s*)(?:\"[^\"]*\"|'[^']*'|(?:Bearer\s+|Basic\s+)?\S+)", re.IGNORECASE
)
_URL = re.compile(r"(//[^/\s:@]*:)[^/\s@]+(?=@)")


def is_secret(name: str) -> bool:
    """Tell whether what goes by this name is a secret: ``MYSQL_ROOT_PASSWORD``, ``api_key``."""
    return _NAME.search(name) is not None


def without_secrets(text: str) -> str:
    """Return the text without values after such names, and without passwords in URLs."""
    return _URL.sub(rf"\1{REDACTED}", _TEXT.sub(rf"\1{REDACTED}", text))
