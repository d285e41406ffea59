#!/bin/bash
# Put a working Apptainer into a directory of its own, for the tests that want a real one.
#
#   apptainer.sh DIRECTORY      afterwards: DIRECTORY/usr/bin/apptainer exec IMAGE COMMAND
#
# Debian 12 has no Apptainer; Debian's unstable branch has. Its package is unpacked here, together
# with the libraries it was built against, and its programs are told to use these: nothing of the
# system is changed. The packages come, signed, from the mirror that this machine's apt uses.
# Needs apt-get and patchelf (and mksquashfs to make image files). Exit status 77: not to be had.
set -euo pipefail

say() { echo "apptainer: $*" >&2; }
give_up() {
  say "$*"
  exit 77
}

for program in apt-get dpkg-deb patchelf; do
  command -v "$program" >/dev/null || give_up "$program is not installed"
done
[[ $# == 1 ]] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
mkdir -p "$1"
home=$(cd "$1" && pwd -P)
if [[ -x $home/usr/bin/apptainer ]] && "$home/usr/bin/apptainer" --version >/dev/null 2>&1; then
  exit 0
fi

mirror=$(apt-get indextargets --format "\$(REPO_URI)" "Created-By: Packages" | grep -m 1 '/debian/*$') ||
  give_up "this machine's apt knows no mirror of Debian"
apt=$home/apt
mkdir -p "$apt"/{lists/partial,cache/archives/partial,sources,packages}
cat >"$apt/apt.conf" <<CONF
Dir::Etc::SourceList "$apt/unstable.list";
Dir::Etc::SourceParts "$apt/sources";
Dir::State::Lists "$apt/lists";
Dir::Cache "$apt/cache";
APT::Sandbox::User "$(id -un)";
CONF
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keys] $mirror unstable main" >"$apt/unstable.list"
export APT_CONFIG=$apt/apt.conf
apt-get -qq update || give_up "$mirror does not answer"
(
  cd "$apt/packages"
  apt-get -qq download apptainer libc6 libseccomp2 libsqlite3-0
) || give_up "$mirror has no apptainer"

for package in "$apt"/packages/*.deb; do
  case ${package##*/} in
    apptainer_*) dpkg-deb -x "$package" "$home" ;;
    *) dpkg-deb -x "$package" "$home/libraries" ;;
  esac
done
loader=$(find "$home/libraries" -name 'ld-linux-*.so.*' | head -n 1)
libraries=$(dirname "$(find "$home/libraries" -name 'libc.so.6' | head -n 1)")
find "$home/usr" -type f \( -name apptainer -path '*/bin/*' -o -name starter \) | while read -r binary; do
  patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$libraries" "$binary"
done

# Both programs look for their configuration and session directory relative to themselves.
for prefix in usr usr/lib; do
  mkdir -p "$home/$prefix/var/lib/apptainer/mnt/session"
  ln -sfnr "$home/etc" "$home/$prefix/etc"
done
# Where root lacks some capability, as in many containers, not all of them can be handed on.
sed -i 's/^root default capabilities = .*/root default capabilities = no/' \
  "$home/etc/apptainer/apptainer.conf"
rm -rf "$apt"
say "$("$home/usr/bin/apptainer" --version) in $home"
