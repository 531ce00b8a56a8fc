#!/usr/bin/env bash
# build.sh NAME ARCHIVE WORK PREFIX: unpacks the archive in the folder WORK, builds the library NAME and installs it,
# static, with its licence, into PREFIX. cmake/Fetch.cmake calls it and sets CC, CXX, CMAKE, JOBS, NOTICE and
# CMAKE_PREFIX_PATH. Only what refract links is built: no programs, tests, documents.
set -euo pipefail

name=$1 archive=$2 work=$3 prefix=$4
export CFLAGS="-O2 -fPIC ${CFLAGS:-}" CXXFLAGS="-O2 -fPIC ${CXXFLAGS:-}"
# A site's settings for other programs must not steer foreign builds.
unset MAKEFLAGS DESTDIR CONFIG_SITE

# into FOLDER FILE...: installs files.
into() {
  local folder=$prefix/$1
  shift
  mkdir -p "$folder"
  cp "$@" "$folder/"
}

make_() { make -j"$JOBS" "$@"; }

# with_cmake OPTION...: the usual steps. The last option is for CMake 4, which refuses what older projects ask of it.
with_cmake() {
  "$CMAKE" -S . -B refract-build -G "Unix Makefiles" -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER="$CC" \
    -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_LIBDIR=lib \
    -DBUILD_SHARED_LIBS=OFF -DBUILD_TESTING=OFF \
    -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DCMAKE_EXPORT_NO_PACKAGE_REGISTRY=ON -DCMAKE_POLICY_VERSION_MINIMUM=3.5 "$@"
  "$CMAKE" --build refract-build --parallel "$JOBS" --target install
}

zlib() {
  ./configure --static --prefix="$prefix"
  make_ libz.a
  into include zlib.h zconf.h
  into lib libz.a
}

bzip2() {
  make_ libbz2.a CC="$CC" CFLAGS="$CFLAGS -D_FILE_OFFSET_BITS=64"
  into include bzlib.h
  into lib libbz2.a
}

# Without threads: only its decoder for one stream is used, and the library then needs nothing but the C library.
xz() {
  ./configure --prefix="$prefix" --libdir="$prefix/lib" --disable-shared --enable-static --with-pic --enable-threads=no \
    --disable-xz --disable-xzdec --disable-lzmadec --disable-lzmainfo --disable-lzma-links --disable-scripts \
    --disable-doc --disable-nls
  make_ install
}

zstd() {
  make_ -C lib libzstd.a CC="$CC" CFLAGS="$CFLAGS" ZSTD_LEGACY_SUPPORT=0
  into include lib/zstd.h lib/zstd_errors.h lib/zdict.h
  into lib lib/libzstd.a
}

xxhash() {
  make_ libxxhash.a CC="$CC" CFLAGS="$CFLAGS"
  into include xxhash.h
  into lib libxxhash.a
}

# openssldir is a folder that is not there: the configuration of another OpenSSL on this machine must not be read.
# Certificates are found by libcurl.
openssl() {
  ./config --prefix="$prefix" --libdir=lib --openssldir="$prefix/no-openssl-configuration" no-shared no-tests no-module \
    no-engine no-legacy no-comp no-ssl3 no-weak-ssl-ciphers no-cms no-ts no-srp no-psk
  make_ build_libs
  make install_dev
}

# HTTP, HTTPS and file URLs.
curl() {
  local protocol off=()
  for protocol in LDAP LDAPS FTP TELNET DICT TFTP RTSP POP3 IMAP SMTP SMB GOPHER MQTT; do
    off+=("-DCURL_DISABLE_$protocol=ON")
  done
  with_cmake "${off[@]}" -DBUILD_CURL_EXE=OFF -DCURL_USE_OPENSSL=ON -DCURL_ZLIB=ON \
    -DCURL_USE_LIBSSH2=OFF -DCURL_USE_LIBSSH=OFF -DUSE_LIBIDN2=OFF -DUSE_NGHTTP2=OFF -DCURL_BROTLI=OFF \
    -DCURL_ZSTD=OFF -DENABLE_MANUAL=OFF
}

# Unicode's properties, case folding and NFC are compiled into the library `uc`, and the library `i18n` is not used. Of
# the 30 MB of data of languages only keywords in scripts without blanks would use some (words.hpp), so the data library
# is ICU's stub.
icu() {
  cd source
  ./configure --prefix="$prefix" --libdir="$prefix/lib" --enable-static --disable-shared --disable-tests \
    --disable-samples --disable-extras --disable-icuio --disable-layoutex
  mkdir -p bin lib
  make_ -C stubdata
  make_ -C common
  make -C common install-headers install-library
  make -C stubdata install-library
  cd ..
}

# Boost.Program_options and the headers that it includes, found by asking the compiler; all of Boost is 15,000 files.
# Debian's archive has each library's headers in the library's folder, upstream's has them in one.
boost() {
  local include=(-I.) folder
  if [ ! -f boost/version.hpp ]; then
    include=()
    for folder in libs/*/include libs/numeric/*/include; do include+=("-I$folder"); done
  fi
  mkdir objects
  printf '%s\n' libs/program_options/src/*.cpp | xargs -P "$JOBS" -I{} bash -c \
    'object=objects/$(basename "$1" .cpp).o; shift; "$@" -o "$object"' compile {} \
    "$CXX" $CXXFLAGS -std=c++17 "${include[@]}" -c {}
  ar rcs libboost_program_options.a objects/*.o
  printf '#include <boost/program_options.hpp>\n#include <boost/version.hpp>\n' >all.cpp
  "$CXX" -std=c++20 "${include[@]}" -M all.cpp | tr -s ' \\' '\n\n' | grep -E '(^|/)boost/.*' | grep -v '^/' |
    while read -r header; do
      folder=$prefix/include/boost/$(dirname "${header##*include/boost/}")
      case $header in boost/*) folder=$prefix/include/$(dirname "$header") ;; esac
      mkdir -p "$folder"
      cp "$header" "$folder/"
    done
  into lib libboost_program_options.a
}

fmt() { with_cmake -DFMT_TEST=OFF -DFMT_DOC=OFF; }

# Newer compilers no longer bring this header by the way.
yaml-cpp() {
  CXXFLAGS="$CXXFLAGS -include cstdint" with_cmake -DYAML_CPP_BUILD_TESTS=OFF -DYAML_CPP_BUILD_TOOLS=OFF \
    -DYAML_CPP_BUILD_CONTRIB=OFF
}

nlohmann-json() { with_cmake -DJSON_BuildTests=OFF; }

simdjson() { with_cmake; }

googletest() { with_cmake; }

benchmark() { with_cmake -DBENCHMARK_ENABLE_TESTING=OFF -DBENCHMARK_ENABLE_GTEST_TESTS=OFF; }

rm -rf "$work"
mkdir -p "$work"
cd "$work"
# Boost unpacks to 60,000 files, which takes long on a parallel file system; a third of them are not read.
only=()
if [ "$name" = boost ]; then
  only=(--anchored --no-wildcards-match-slash --exclude='*/doc' --exclude='*/tools' --exclude='*/libs/*/doc' --exclude='*/libs/*/test'
    --exclude='*/libs/*/example')
fi
tar -x --strip-components=1 "${only[@]}" -f "$archive"
"$name"
into "share/licences/$name" "$work/$NOTICE"
