#!/usr/bin/env bash
# install.sh REFRACT SOURCE BUILD CMAKE: `cmake --install` into a prefix, which then works elsewhere too.
source "$(dirname "${BASH_SOURCE[0]}")/../e2e/common.sh"
begin "$@"
build=$3 cmake=$4
source=$PWD

"$cmake" --install "$build" --prefix "$work/first" >"$work/install.log" 2>&1 || { cat "$work/install.log"; fail "cmake --install"; }
mv "$work/first" "$work/prefix"
prefix=$work/prefix
version=$(sed -n 's/^project(refract VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
[ "$("$prefix/bin/refract" --version)" = "refract $version" ] || fail "bin/refract does not run where it was moved to"
passed "the binary runs from a prefix that was moved"

for path in README.md LICENSE NOTICE CHANGELOG.md docs/getting-started.md; do
  cmp -s "$path" "$prefix/share/doc/refract/$path" || fail "share/doc/refract/$path is not the source's"
done
for script in jobs/*.sbatch jobs/site/*; do
  [ ! -e "$script" ] || cmp -s "$script" "$prefix/share/refract/$script" || fail "share/refract/$script is not the source's"
done
[ ! -e "$prefix/share/refract/jobs/setup.sh" ] || fail "jobs/setup.sh, which works on a source tree, was installed"
broken=$(cd "$prefix/share/doc/refract" && grep -oE '\]\([^):#]+' README.md | cut -c3- | while read -r to; do
  [ -e "$to" ] || echo "$to"; done | grep -v '^configs/' )
[ -z "$broken" ] || fail "the installed README links what is not there: $broken"
passed "documents and jobs are in the prefix"

# The demo's paths are relative to where it is started: from a copy, as the prefix may not be written.
mkdir "$work/scratch"
cp -r "$prefix/share/refract/configs" "$work/scratch/"
(cd "$work/scratch" && "$prefix/bin/refract" run --dry-run configs/demo.yaml >"$work/dry.log" 2>&1) ||
  { tail -5 "$work/dry.log"; fail "the demo's dry run"; }
passed "the demo is planned from the prefix"

modules=$prefix/share/refract/modulefiles
[ "$(ls "$modules/refract" | tr '\n' ' ')" = "$version $version.lua " ] || fail "modulefiles: $(ls "$modules/refract")"
head -1 "$modules/refract/$version" | grep -q '^#%Module' || fail "the Tcl modulefile does not begin #%Module"
! grep -rq "@\|$work\|$source" "$modules" || fail "a modulefile holds a path of the build, or was not filled in"
passed "modulefiles name no path"
# By the programs that read them, where they are.
lmod=$(compgen -G '/usr/share/lmod/*/libexec/lmod' | head -1)
if [ -n "$lmod" ]; then
  (eval "$(MODULEPATH=$modules "$lmod" bash load "refract/$version" 2>/dev/null)"
   [ "$(refract --version)" = "refract $version" ] && [ "$REFRACT_JOBS" -ef "$prefix/share/refract/jobs" ]) || fail "Lmod"
  passed "Lmod loads it"
fi
tcl=$(compgen -G '/usr/lib/*/modulecmd.tcl' | head -1)
if [ -n "$tcl" ]; then
  (eval "$(MODULEPATH=$modules "$tcl" bash load "refract/$version" 2>/dev/null)"
   [ "$(refract --version)" = "refract $version" ] && [ "$REFRACT_JOBS" -ef "$prefix/share/refract/jobs" ]) || fail "Environment Modules"
  passed "Environment Modules load it"
fi
