"""What the LLM servers have in common: where models lie, and settings that are said twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchd.catalog.kinds import Complaint, Parameter
from benchd.core.containers import shell_path
from benchd.core.payload import Sh
from benchd.core.spec import Part

# A directory of the cluster: absolute, or below a variable that the batch script knows.
PLACE = r"(/|~|\$\{?(HOME|USER|TMPDIR|SCRATCH|JOB|BENCHD_DATA)\b)[!-~]*"
# A model as its server is told of it: a name in a library, a repository or a path.
MODEL = r"[A-Za-z0-9/$][!-~]{0,299}"
# What everybody shares lies beside the runs: JOB is <workdir>/runs/<run>/jobs/<token>.
_SHARED = '"${JOB%/*/*/*/*}"'


def shared_directory(variable: str, wanted: object, usual: str) -> tuple[str, ...]:
    """Return shell that makes a directory and exports its name; by default one for all jobs."""
    path = shell_path(str(wanted)) if wanted else f"{_SHARED}/{usual}"
    return (
        f"export {variable}={path}",
        f'mkdir -p "${variable}" || benchd_stop "${variable} cannot be made"',
    )


def place(name: str, usual: str, what: str) -> Parameter:
    """Return the parameter that says where models are kept."""
    return Parameter(
        name=name,
        type="str",
        default=None,
        pattern=PLACE,
        doc=f"directory {what}; default: {usual} in benchd's directory on the cluster, the same "
        "for all jobs; $BENCHD_DATA/NAME is one for this job, see `storage`",
    )


def said_twice(part: Part, variables: Mapping[str, str]) -> Iterator[Complaint]:
    """Yield where an environment variable and the parameter that sets it say different things."""
    for parameter, variable in variables.items():
        own, other = part.parameters.get(parameter), part.environment.get(variable)
        if own is None or other is None:
            continue
        said = str(int(own)) if isinstance(own, bool) else str(own)
        if said != other:
            what = f"says {other!r}, but parameters.{parameter} says {said!r}: keep one of them"
            yield ("environment", variable), what


def bound(variable: str) -> Sh:
    """Return the directory that a variable names, for a container to see."""
    return Sh(f'"${variable}"')
