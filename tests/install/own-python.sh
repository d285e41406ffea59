#!/bin/bash
# Install what only `make test-heavy` needs into a Python environment of its own, build/NAME.
# It is made again when what is pinned for it changes.
#
#   own-python.sh spark      Apache Spark, 0.5 GB; it needs a Java as well: system-packages.sh heavy
#   own-python.sh ray        Ray, 0.3 GB
#
#   BENCHD_INSTALL=0 never install; what needs it is then skipped, with that reason
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
name=${1:-}
say() { echo "$name: $*"; }

if [[ $# != 1 || ! -f $here/$name.txt ]]; then
  sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
home=$here/../../build/$name
# What it is built with, where the package index has only its source; then nothing else is fetched.
build=$here/$name-build.txt
locks=("$here/$name.txt")
[[ ! -f $build ]] || locks+=("$build")
key=$(cat "${locks[@]}" | cksum)
if [[ $(uname -s) != Linux ]]; then
  say "skipped: only tried on Linux"
  exit 0
fi
if [[ $(cat "$home/.ready" 2>/dev/null) == "$key" ]]; then
  say "present"
  exit 0
fi
if [[ ${BENCHD_INSTALL:-1} == 0 ]]; then
  say "skipped because BENCHD_INSTALL=0"
  exit 0
fi

install() { # FILE [OPTION...]
  "$home/bin/python" -m pip --quiet --disable-pip-version-check install --require-hashes --no-deps \
    --no-cache-dir "${@:2}" -r "$1"
}

make_it() {
  "${PYTHON:-python3}" -m venv "$home" || return
  if [[ -f $build ]]; then
    install "$build" && install "$here/$name.txt" --no-build-isolation
  else
    install "$here/$name.txt"
  fi
}

say "installing $(grep -c '^[a-z].*==' "$here/$name.txt") packages into build/$name"
rm -rf "$home"
if ! make_it; then
  rm -rf "$home"
  say "could not be installed; the words above say why; what needs it will be skipped"
  exit 0
fi
echo "$key" >"$home/.ready"
