#!/usr/bin/env bash
# fetch_build.sh SOURCE: a cluster that is not Debian, on this machine. A user without root, from whom the development
# files of everything that cmake/Fetch.cmake can build are hidden, with HDF5 and LAPACKE in a prefix of the site,
# configures the preset `cluster` with REFRACT_FETCH=ON from a folder of Debian's source archives, builds, installs,
# and runs the demo (shrunk) from the installed prefix.
#
# Hidden means gone: in a mount namespace of its own, /usr and /etc are overlays in which those files are removed.
# Needs root, overlayfs and Debian's source packages; skips by name (77) without. Takes about 20 minutes on two cores.
set -uo pipefail
cd "$1" || exit 1
source=$PWD
here=$source/tests/cluster

skip() {
  echo "SKIPPED: $*"
  exit 77
}

[ "$(id -u)" -eq 0 ] || skip "only root can make a mount namespace with an overlay over /usr"
for tool in unshare setpriv useradd apt-get dpkg-query readelf; do
  command -v "$tool" >/dev/null || skip "no $tool here"
done

work=$(mktemp -d "${TMPDIR:-/tmp}/refract-cluster.XXXXXX")
chmod 755 "$work"
finish() {
  if [ "$1" -eq 0 ] || [ "$1" -eq 77 ]; then
    rm -rf "$work"
  else
    echo "FAILED; left in $work"
  fi
}
trap 'finish $?' EXIT
mkdir "$work/ns"
echo "works in $work"
unshare --mount --propagation private bash -c "mount -t overlay overlay -o lowerdir=/usr,upperdir=$work/ns,workdir=\$(mktemp -d -p $work) /usr" \
  2>"$work/overlay.log" || skip "no overlay over /usr can be mounted: $(cat "$work/overlay.log")"

# Source archives, by apt from where this machine has its packages, with lists of our own.
apt=$work/apt
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$work/mirror"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
apt-get indextargets --format "deb-src [signed-by=$keyring] \$(SITE) \$(RELEASE) main|\$(ORIGIN)" 'Created-By: Packages' |
  sed -n 's/|Debian$//p' | sort -u >"$apt/sources.list"
options=(-o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$apt/lists"
  -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root)
apt-get "${options[@]}" -qq update >"$apt/log" 2>&1 && [ -s "$apt/sources.list" ] ||
  skip "Debian's source packages cannot be fetched: $(tail -1 "$apt/log")"
for archive in $(grep -oE '^ +[^ ]+\.orig\.tar\.[a-z0-9]+' cmake/fetch/libraries.cmake); do
  package=${archive%%_*}
  case $package in googletest | benchmark) continue ;; esac  # the preset builds no tests
  version=$(apt-cache "${options[@]}" showsrc --only-source "$package" 2>>"$apt/log" |
    awk -v archive="$archive" '/^Version:/ {v = $2} $3 == archive {print v; exit}')
  [ -n "$version" ] || skip "Debian's sources no longer have $archive, which is pinned"
  (cd "$work/mirror" && apt-get "${options[@]}" -qq source --download-only --only-source "$package=$version") >>"$apt/log" 2>&1 ||
    skip "$archive cannot be fetched: $(tail -1 "$apt/log")"
done
mirror_url=$(sed -n 's/^deb-src [^]]*\] \([^ ]*\) [^ -]* main$/\1/p' "$apt/sources.list" | head -1)
# An HDF5 of another MPI, to be refused.
(mkdir "$work/mpich" && cd "$work/mpich" && apt-get -qq download libhdf5-mpich-dev libhdf5-mpich-103-1 &&
  for package in *.deb; do dpkg -x "$package" .; done) >>"$apt/log" 2>&1 || echo "no HDF5 with MPICH to be had: its refusal is not tried"

mkdir "$work/home"
{ git -c safe.directory="$source" ls-files -z 2>/dev/null || find . -path ./build -prune -o -type f -print0; } |
  tar -c --null -T - | tar -x --one-top-level="$work/home/refract"

# All processes in there end with it.
unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
  bash "$here/fetch_build_site.sh" "$work" "$mirror_url"
