"""What a client may bring along and leave elsewhere: a script of the user's, and its output."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from benchd.fields import Line, Model

MAX_SCRIPT = 1024 * 1024  # bytes of a script; it travels inside the batch script, Slurm takes 4 MiB

# A file's own name: no directory in it, and nothing that hides or that a shell could mistake.
_FILE_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"
# One requirement as pip writes it, without URLs and options.
_PACKAGE = (
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(\[[A-Za-z0-9,_-]{1,63}\])?"
    r"([=<>!~]=?[A-Za-z0-9.*+!,=<>~-]{1,63})?$"
)
# Text of several lines: a program of the user's, so no control characters but those of text.
_TEXT = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
Text = Annotated[str, StringConstraints(pattern=_TEXT, max_length=MAX_SCRIPT)]

# What each expression asks for, in the words of error messages.
PATTERNS = {
    _FILE_NAME: "the name of a file, without a directory",
    _PACKAGE: "the name of a Python package, perhaps with a version: requests==2.32.3",
    _TEXT: "text without control characters",
}


class ScriptFile(Model):
    """A program of the user's, read when the recipe is accepted and sent with every job."""

    name: Annotated[str, StringConstraints(pattern=_FILE_NAME)] = Field(
        description="the file; .py runs with python3, .sh with bash, others by their first line"
    )
    local_path: Line = Field(
        "", description="its directory below `scripts_dir` of the configuration"
    )
    remote_path: Line | None = Field(
        None,
        description="directory on the cluster where a copy is put as well, unless another file of "
        "that name lies there",
    )
    text: Text | None = Field(None, description="the program itself, instead of a file")
    packages: tuple[Annotated[str, StringConstraints(pattern=_PACKAGE)], ...] = Field(
        (), description="Python packages that pip installs for the job where they are missing"
    )
    endpoint: Literal["url", "address", "none"] | None = Field(
        None,
        description="how the service is handed over: --endpoint=http://host:port, "
        "--endpoint=host:port, or not at all; default: address for databases, else url",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        # Both are there once the file was read, and then its directory is only where it came from.
        if ".." in self.local_path.split("/") or self.local_path.startswith(("/", "~", "$")):
            raise ValueError(
                f"local_path is a directory below scripts_dir of the configuration, not "
                f"{self.local_path!r}: without a leading / and without .."
            )
        return self


class Output(Model):
    """Where a client leaves what it found out, and where else that is wanted."""

    file: Line | None = Field(None, description="the file that it writes; it is brought home")
    shared_dir: Line | None = Field(
        None,
        description="directory on the cluster; what the job leaves is copied to a directory of "
        "the job's name in it",
    )
