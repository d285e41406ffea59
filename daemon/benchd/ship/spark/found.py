"""Is there a Spark on this node, and a Java that it runs on? What is missing is said at once."""

import glob
import importlib.util
import os
import re
import shutil
import subprocess
from typing import List, Mapping, NamedTuple, Optional

# Spark's oldest Java: 17 from Spark 4.0 on, 8 before (spark.apache.org, "Overview").
_JAVA_OF_SPARK_4 = 17
_JAVA = 8


class Missing(Exception):
    """Something is not installed on this node; the message says what to do."""


class Spark(NamedTuple):
    """Where Spark is."""

    home: str
    version: str
    python: List[str]  # directories and archives in which Python finds pyspark and py4j
    java: str


def look(home: Optional[str], environ: Mapping[str, str]) -> Spark:
    """Return the Spark of this node, or raise ``Missing``."""
    where = _home(home, environ)
    python = _python(where)
    version = _version(where)
    java = _java(environ, int(version.partition(".")[0] or 0))
    return Spark(where, version, python, java)


def _home(home: Optional[str], environ: Mapping[str, str]) -> str:
    said = home or environ.get("SPARK_HOME")
    if said:
        if not os.path.isfile(os.path.join(said, "bin", "spark-class")):
            message = (
                "%s is no Spark: there is no bin/spark-class; correct spark_home (or SPARK_HOME)"
            )
            raise Missing(message % said)
        return said
    spec = importlib.util.find_spec("pyspark")
    if spec is None or not spec.submodule_search_locations:
        raise Missing(
            "no Spark on this node: this Python has no pyspark, and neither spark_home nor "
            "SPARK_HOME says where Spark is. Install it (pip install pyspark) and name its Python "
            "with `command: /path/to/bin/python`, or set parameters.spark_home, or use an image "
            "that has it"
        )
    return list(spec.submodule_search_locations)[0]


def _python(home: str) -> List[str]:
    """Return what must be on Python's path: Spark's own archives, or nothing beside pip's."""
    own = os.path.join(home, "python")
    archives = sorted(glob.glob(os.path.join(glob.escape(own), "lib", "py4j-*.zip")))
    if os.path.isdir(os.path.join(own, "pyspark")) and archives:
        return [own, archives[-1]]
    # as pip has installed it: the directory above
    above = os.path.dirname(os.path.abspath(home))
    if os.path.basename(home.rstrip("/")) == "pyspark" and os.path.isdir(home + "/jars"):
        return [above]
    raise Missing("%s has no Python part (python/lib/py4j-*.zip): it is not all of Spark" % home)


def _version(home: str) -> str:
    for part in ("version.py", "python/pyspark/version.py"):
        try:
            with open(os.path.join(home, part), encoding="utf-8") as file:
                match = re.search(r"""__version__.*?=\s*["']([0-9][^"']*)["']""", file.read())
        except OSError:
            continue
        if match:
            return match.group(1)
    raise Missing("%s does not say which version of Spark it is" % home)


def _java(environ: Mapping[str, str], spark: int) -> str:
    needed = _JAVA_OF_SPARK_4 if spark >= 4 else _JAVA
    advice = (
        "install Java %d or newer (Debian: openjdk-17-jre-headless), load its module "
        "(runtime.module), or set JAVA_HOME in the recipe's environment" % needed
    )
    home = environ.get("JAVA_HOME")
    java = (
        os.path.join(home, "bin", "java")
        if home
        else shutil.which("java", path=environ.get("PATH"))
    )
    if not java or not os.access(java, os.X_OK):
        where = "JAVA_HOME=%s has no bin/java" % home if home else "there is none on the PATH"
        raise Missing("no Java on this node, and Spark needs one: %s; %s" % (where, advice))
    try:
        output = subprocess.check_output([java, "-version"], stderr=subprocess.STDOUT, timeout=60)
        said = output.decode("utf-8", "replace")
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing("%s does not run: %s; %s" % (java, error, advice)) from None
    match = re.search(r'version "(?:1\.)?(\d+)', said)
    if not match or int(match.group(1)) < needed:
        first = said.strip().splitlines()[:1]
        raise Missing("%s is too old (%s); %s" % (java, " ".join(first) or "no version", advice))
    return java
