#!/bin/bash
# Install the server of Chroma, which tests run for real, into an environment of its own:
# build/chroma, about 230 MB. It is made again when what is pinned in chroma.txt changes.
#
#   BENCHD_INSTALL=0 never install; what needs it is then skipped, with that reason
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
home=$here/../../build/chroma
say() { echo "chroma: $*"; }

if [[ $(uname -s) != Linux ]]; then
  say "skipped: only tried on Linux"
  exit 0
fi
key=$(cksum <"$here/chroma.txt")
if [[ $(cat "$home/.ready" 2>/dev/null) == "$key" ]]; then
  say "present"
  exit 0
fi
if [[ ${BENCHD_INSTALL:-1} == 0 ]]; then
  say "skipped because BENCHD_INSTALL=0"
  exit 0
fi
say "installing $(grep -c '^[a-z].*==' "$here/chroma.txt") packages into build/chroma"
rm -rf "$home"
if ! "${PYTHON:-python3}" -m venv "$home" || ! "$home/bin/python" -m pip --quiet \
  --disable-pip-version-check install --require-hashes --no-deps -r "$here/chroma.txt"; then
  rm -rf "$home"
  say "could not be installed; the words above say why; what needs it will be skipped"
  exit 0
fi
echo "$key" >"$home/.ready"
