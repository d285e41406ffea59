#!/bin/bash
# Run a command with the Slurm of another Debian release in front of this machine's own.
#
#   release.sh SUITE -- COMMAND...        release.sh trixie -- pytest tests/slurm
#
# The release's packages are installed once into a root of their own (build/SUITE, 0.4 GB, about a
# minute), with debootstrap and from the mirror that apt uses here ($DEBIAN_MIRROR: another one).
# COMMAND runs in a mount and process namespace in which Slurm's programs on PATH are those of that
# root; the rest - munge, MariaDB, sshd, Python - stays this machine's. Nothing of it outlives
# COMMAND. Needs root. Exit status 77: this machine cannot do it, and why is said.
set -euo pipefail

WANTED=slurmctld,slurmd,slurmdbd,slurm-client,slurm-wlm-basic-plugins,slurm-wlm-mysql-plugin
WANTED+=,slurmrestd,slurm-wlm-jwt-plugin,munge,python3,procps,redis-server,redis-tools
PROGRAMS="sacct sacctmgr salloc sbatch scancel scontrol sdiag sinfo sprio squeue srun sstat"
DAEMONS="slurmctld slurmd slurmdbd slurmrestd"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)

say() { echo "release: $*" >&2; }
cannot() {
  say "$*"
  exit 77
}

mirror() { # the first Debian archive that apt knows here
  # shellcheck disable=SC2016 # apt fills these in, not the shell
  apt-get indextargets --format '$(SITE) $(ORIGIN) $(CODENAME)' 'Created-By: Packages' 2>/dev/null |
    awk '$2 == "Debian" && !/security/ { print $1; exit }'
}

fetch() { # SUITE ROOT
  local from=${DEBIAN_MIRROR:-$(mirror)} draft="$2.draft"
  [[ -n $from ]] || cannot "apt knows no Debian archive here; set DEBIAN_MIRROR"
  say "installing Slurm of $1 into $2"
  rm -rf "$draft" "$2"
  mkdir -p "$draft"
  if ! nice debootstrap --variant=minbase "--include=$WANTED" "$1" "$draft" "$from" >"$2.log" 2>&1; then
    tail -n 3 "$2.log" >&2
    cannot "debootstrap of $1 failed; its words are in $2.log"
  fi
  rm -rf "$draft"/var/cache/apt/archives/*.deb
  mv "$draft" "$2"
}

wrap() { # ROOT NAME FOLDER: a program on PATH that runs the one in the root
  printf '%s\n' '#!/bin/sh' \
    "exec $(command -v chroot) '$1' /bin/sh -c 'cd \"\$1\" 2>/dev/null; shift; exec \"\$@\"' sh \"\$PWD\" $3/$2 \"\$@\"" \
    >"$1.bin/$2"
  chmod 755 "$1.bin/$2"
}

inside() { # ROOT COMMAND...: in the new namespaces
  local root=$1 place
  shift
  mount --make-rprivate /
  mount -t proc proc /proc
  for place in "$here" /dev /dev/shm /tmp /proc; do
    mkdir -p "$root$place"
    mount --bind "$place" "$root$place"
  done
  # The same names of hosts, users and groups inside as outside.
  for place in hosts passwd group; do mount --bind "/etc/$place" "$root/etc/$place"; done
  PATH="$root.bin:$PATH" exec "$@"
}

main() {
  if [[ ${1:-} == --inside ]]; then
    shift
    inside "$@"
  fi
  [[ $# -ge 3 && $2 == -- ]] || cannot "usage: release.sh SUITE -- COMMAND..."
  local suite=$1 root="$here/build/$1" name
  shift 2
  [[ $(id -u) == 0 ]] || cannot "only root may make roots and namespaces"
  command -v debootstrap >/dev/null || cannot "debootstrap is not installed"
  unshare --mount --pid --fork true 2>/dev/null || cannot "this machine gives no namespaces"
  # A root that was made before slurmrestd was wanted is made again.
  [[ -x $root/usr/sbin/slurmrestd ]] || fetch "$suite" "$root"
  mkdir -p "$root.bin"
  for name in $PROGRAMS; do wrap "$root" "$name" /usr/bin; done
  for name in $DAEMONS; do wrap "$root" "$name" /usr/sbin; done
  exec unshare --mount --pid --fork --kill-child "$0" --inside "$root" "$@"
}

main "$@"
