#!/bin/bash
# Install the system packages that tests on real components need: Debian and Ubuntu, as root or
# with a password-less sudo.
#
#   system-packages.sh [--check] [all|slurm|heavy]
#
#   --check          only say what is missing; exit status 1 if something is
#   slurm            only what a private Slurm cluster with an sshd needs
#   heavy            what only `make test-heavy` needs besides: a Java for Spark
#   BENCHD_INSTALL=0 never install, whatever the rights
#
# Nothing is started, now or at the next boot: while it installs, a policy forbids it, and services
# of packages that were not here before are disabled. What was here before is left alone.
# Where it may not install, it says so and ends with 0: the tests then skip and say why.
set -euo pipefail

SLURM="munge slurmctld slurmd slurmdbd slurm-client slurm-wlm-basic-plugins mariadb-server
  slurmrestd slurm-wlm-jwt-plugin openssh-server openssh-client"
OTHERS="redis-server redis-tools sysbench postgresql prometheus prometheus-redis-exporter
  prometheus-mysqld-exporter prometheus-node-exporter prometheus-process-exporter chromium shellcheck systemd debootstrap zsh fish
  charliecloud busybox-static patchelf squashfs-tools"
HEAVY="default-jre-headless"
SERVICES="munge slurmctld slurmd slurmdbd slurmrestd mariadb ssh ssh.socket redis-server postgresql prometheus
  prometheus-redis-exporter prometheus-mysqld-exporter prometheus-node-exporter
  prometheus-process-exporter"
POLICY=/usr/sbin/policy-rc.d

say() { echo "packages: $*"; }

missing_packages() { # NAME... -> those that are not installed
  local name
  for name in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null) == ii* ]] || echo "$name"
  done
}

known_packages() { # NAME... -> those that this release of the distribution has
  local name
  for name in "$@"; do
    if apt-cache show --no-all-versions "$name" >/dev/null 2>&1; then
      echo "$name"
    else
      say "this release has no $name; what needs it will be skipped" >&2
    fi
  done
}

is_enabled() { [[ $(systemctl is-enabled "$1" 2>/dev/null) == enabled ]]; }

install_packages() { # NAME...
  local before="" wanted service log root=()
  [[ $(id -u) == 0 ]] || root=(sudo -n)
  local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq
    -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
  if [[ ! -e $POLICY ]]; then
    # shellcheck disable=SC2064 # the words are to be expanded now
    trap "${root[*]} rm -f $POLICY" EXIT
    printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$POLICY" >/dev/null
    "${root[@]}" chmod 755 "$POLICY"
  fi
  for service in $SERVICES; do
    if is_enabled "$service"; then before+=" $service "; fi
  done
  "${apt[@]}" update
  mapfile -t wanted < <(known_packages "$@")
  say "installing ${wanted[*]} (nothing gets started)"
  log=$(mktemp)
  if ! "${apt[@]}" install -y --no-install-recommends "${wanted[@]}" >"$log" 2>&1; then
    cat "$log" >&2
    say "apt-get failed; its words are above" >&2
    exit 1
  fi
  rm -f "$log"
  for service in $SERVICES; do
    if [[ $before != *" $service "* ]] && is_enabled "$service"; then
      "${root[@]}" systemctl disable --quiet "$service" 2>/dev/null || true
    fi
  done
}

main() {
  local check=false group=all absent=()
  for argument in "$@"; do
    case $argument in
      --check) check=true ;;
      all | slurm | heavy) group=$argument ;;
      *)
        sed -n '2,15s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
    esac
  done
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    say "skipped: not a Debian or Ubuntu system"
    exit 0
  fi
  local names=$SLURM
  [[ $group == slurm ]] || names+=" $OTHERS"
  [[ $group != heavy ]] || names=$HEAVY
  # shellcheck disable=SC2086 # a list of words
  mapfile -t absent < <(missing_packages $names)
  if [[ ${#absent[@]} == 0 ]]; then
    say "all present"
  elif $check; then
    say "missing: ${absent[*]}"
    exit 1
  elif [[ ${BENCHD_INSTALL:-1} == 0 ]]; then
    say "skipped because BENCHD_INSTALL=0; missing: ${absent[*]}"
  elif [[ $(id -u) == 0 ]] || sudo -n true 2>/dev/null; then
    install_packages "${absent[@]}"
  else
    say "skipped: neither root nor a password-less sudo; missing: ${absent[*]}"
  fi
}

main "$@"
