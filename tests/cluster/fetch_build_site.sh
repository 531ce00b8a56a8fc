#!/usr/bin/env bash
# fetch_build_site.sh WORK MIRROR_URL: called by fetch_build.sh in a mount namespace, as root: makes this machine the
# site of a cluster, and then is its user.
set -euo pipefail
work=$1 mirror_url=$2
for folder in usr etc; do
  mkdir -p "$work/ns/$folder" "$work/ns/$folder.work"
  mount -t overlay overlay -o "lowerdir=/$folder,upperdir=$work/ns/$folder,workdir=$work/ns/$folder.work" "/$folder"
done

# The site's own prefixes, before their Debian homes are emptied.
site=$work/site
mkdir -p "$site/hdf5/lib" "$site/lapack/lib" "$site/lapack/include"
libraries=/usr/lib/$(gcc -print-multiarch)
cp -r /usr/include/hdf5/openmpi "$site/hdf5/include"
ln -s "$(readlink -f "$libraries/hdf5/openmpi/libhdf5.so")" "$site/hdf5/lib/libhdf5.so"
cp "$libraries"/../../include/lapack*.h "$site/lapack/include/"
ln -s "$(readlink -f "$libraries/liblapacke.so")" "$site/lapack/lib/liblapacke.so"
if [ -d "$work/mpich/usr" ]; then
  mkdir -p "$site/hdf5-mpich/lib"
  cp -r "$work/mpich/usr/include/hdf5/mpich" "$site/hdf5-mpich/include"
  cp "$(find "$work/mpich/usr/lib" -name 'libhdf5_mpich.so.*' -type f | head -1)" "$site/hdf5-mpich/lib/libhdf5.so"
fi

hidden=(zlib1g-dev libbz2-dev liblzma-dev libzstd-dev libxxhash-dev 'libssl-dev' 'libcurl4-*-dev' libicu-dev 'libboost*-dev'
  libfmt-dev libyaml-cpp-dev nlohmann-json3-dev libsimdjson-dev 'libhdf5-*dev' 'liblapack*-dev' 'libblas*-dev'
  'libopenblas*-dev' ccache)
dpkg-query -W -f '${db:Status-Status} ${binary:Package}\n' "${hidden[@]}" 2>/dev/null | sed -n 's/^installed //p' |
  xargs dpkg -L | sort -u | while read -r path; do
    case $path in /usr/share/doc/*) continue ;; /usr/*) [ -d "$path" ] && [ ! -L "$path" ] || rm -f "$path" ;; esac
  done
rm -f /usr/bin/h5pcc /usr/bin/h5cc "$libraries"/lib{blas,lapack,cblas,openblas}.{so,a} /usr/include/*/cblas.h
rm -rf /usr/local/cuda*
for header in zlib.h bzlib.h lzma.h zstd.h xxhash.h openssl/evp.h curl/curl.h unicode/utypes.h boost/version.hpp \
  fmt/format.h yaml-cpp/yaml.h nlohmann/json.hpp simdjson.h hdf5.h lapacke.h; do
  ! echo "#include <$header>" | g++ -E -x c++ - >/dev/null 2>&1 || { echo "FAILED: $header is not hidden"; exit 1; }
done
for library in z bz2 lzma zstd xxhash crypto ssl curl icuuc boost_program_options fmt yaml-cpp simdjson hdf5 lapacke; do
  ! echo 'int main() {}' | g++ -x c++ - -o /dev/null "-l$library" 2>/dev/null ||
    { echo "FAILED: lib$library is not hidden"; exit 1; }
done
echo "ok: the compiler finds none of the hidden headers and libraries"

useradd --home-dir "$work/home" --no-create-home --shell /bin/bash refract-user
chown -R refract-user: "$work/home"
id=$(id -u refract-user)
nice -n 10 setpriv --reuid "$id" --regid "$(id -g refract-user)" --clear-groups --inh-caps=-all --bounding-set=-all \
  env -i HOME="$work/home" USER=refract-user PATH=/usr/bin:/bin LANG=C.UTF-8 MIRROR_URL="$mirror_url" \
  bash "$work/home/refract/tests/cluster/fetch_build_user.sh" "$work/mirror" "$site"
