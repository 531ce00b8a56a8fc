# The small rest: what REFRACT_FETCH=ON builds where a site does not have it. One row is one library.
#
#   refract_library(NAME VERSION LICENCE NOTICE ARCHIVES...)
#
# NOTICE is the file of the source that holds the licence; it is installed beside the binary that the library is
# linked into. ARCHIVES are NAME SHA256 URL, as often as there are archives with this source. URL `-`: an archive of
# a Debian source package that differs from upstream's (they leave out what is not free to pass on); it is taken from
# REFRACT_DEPS_MIRROR, never fetched from upstream. All others are equal, byte for byte, to the file at their URL.
# How to build: the function of that name in build.sh.
#
# Versions are Debian 12's, the ones that the tests of every day run with. Order: what a library needs is above it.
refract_library(zlib 1.2.13 "Zlib" README
  zlib_1.2.13.dfsg.orig.tar.bz2
    71feb7947e3c00ef125f83b79a4e529bde31171e5babe48b391f06758d1ab0a1 -
  zlib-1.2.13.tar.gz
    b3a24de97a8fdbc835b9833169501030b8977031bcb54b3b3ac13740f846ab30
    https://github.com/madler/zlib/releases/download/v1.2.13/zlib-1.2.13.tar.gz)
refract_library(bzip2 1.0.8 "bzip2-1.0.6" LICENSE
  bzip2_1.0.8.orig.tar.gz
    ab5a03176ee106d3f0fa90e381da478ddae405918153cca248e682cd0c4a2269
    https://sourceware.org/pub/bzip2/bzip2-1.0.8.tar.gz)
refract_library(xz 5.4.1 "public domain (liblzma)" COPYING
  xz-utils_5.4.1.orig.tar.xz
    5d9827aa1875b21c288f78864bb26d2650b436ea8d2cad364e4921eb6266a5a5
    https://tukaani.org/xz/xz-5.4.1.tar.xz)
refract_library(zstd 1.5.4 "BSD-3-Clause" LICENSE
  libzstd_1.5.4+dfsg2.orig.tar.xz
    8cf4bbb65e77ec348d052c8d6230eba66d435bddf64c8b5be2fcb16880c19953 -
  zstd-1.5.4.tar.gz
    0f470992aedad543126d06efab344dc5f3e171893810455787d38347343a4424
    https://github.com/facebook/zstd/releases/download/v1.5.4/zstd-1.5.4.tar.gz)
refract_library(xxhash 0.8.1 "BSD-2-Clause" LICENSE
  xxhash_0.8.1.orig.tar.gz
    3bb6b7d6f30c591dd65aaaff1c8b7a5b94d81687998ca9400082c739a690436c
    https://github.com/Cyan4973/xxHash/archive/v0.8.1.tar.gz)
refract_library(openssl 3.0.20 "Apache-2.0" LICENSE.txt
  openssl_3.0.20.orig.tar.gz
    c80a01dfc70ece4dc21168932c37739042d404d46ccc81a5986dd75314ecda6f
    https://github.com/openssl/openssl/releases/download/openssl-3.0.20/openssl-3.0.20.tar.gz)
refract_library(curl 7.88.1 "curl" COPYING
  curl_7.88.1.orig.tar.gz
    cdb38b72e36bc5d33d5b8810f8018ece1baa29a8f215b4495e495ded82bbf3c7
    https://curl.se/download/curl-7.88.1.tar.gz)
refract_library(icu 72.1 "ICU" LICENSE
  icu_72.1.orig.tar.gz
    a2d2d38217092a7ed56635e34467f92f976b370e20182ad325edea6681a71d68
    https://github.com/unicode-org/icu/releases/download/release-72-1/icu4c-72_1-src.tgz)
refract_library(boost 1.74.0 "BSL-1.0" LICENSE_1_0.txt
  boost1.74_1.74.0+ds1.orig.tar.xz
    192f5df504d282cb81288f88232d8af45b64a9ab531e1c7cf8ae955f16f6bb28 -
  boost_1_74_0.tar.bz2
    83bfc1507731a0906e387fc28b7ef5417d591429e51e788417fe9ff025e116b1
    https://archives.boost.io/release/1.74.0/source/boost_1_74_0.tar.bz2)
refract_library(fmt 9.1.0 "MIT" LICENSE.rst
  fmtlib_9.1.0+ds1.orig.tar.gz
    84ce1c2d0be3a9863935137969dcec6970125caac032f82474640bfc81463583 -
  fmt-9.1.0.tar.gz
    5dea48d1fcddc3ec571ce2058e13910a0d4a6bab4cc09a809d8b1dd1c88ae6f2
    https://github.com/fmtlib/fmt/archive/9.1.0.tar.gz)
refract_library(yaml-cpp 0.7.0 "MIT" LICENSE
  yaml-cpp_0.7.0+dfsg.orig.tar.xz
    dc63708605404e0b963e0ca3a9619d1c8270eda2839603e6fa0384e5e51e5312 -
  yaml-cpp-0.7.0.tar.gz
    43e6a9fcb146ad871515f0d0873947e5d497a1c9c60c58cb102a97b47208b7c3
    https://github.com/jbeder/yaml-cpp/archive/yaml-cpp-0.7.0.tar.gz)
refract_library(nlohmann-json 3.11.2 "MIT" LICENSE.MIT
  nlohmann-json3_3.11.2.orig.tar.gz
    d69f9deb6a75e2580465c6c4c5111b89c4dc2fa94e3a85fcd2ffcd9a143d9273
    https://github.com/nlohmann/json/archive/v3.11.2.tar.gz)
refract_library(simdjson 3.0.1 "Apache-2.0" LICENSE
  simdjson_3.0.1.orig.tar.gz
    156b1bc5eb0561b2bd166b46d191fd3d95a3e709cc63761477d3b7aec2b6e9ed
    https://github.com/simdjson/simdjson/archive/v3.0.1.tar.gz)
refract_library(googletest 1.12.1 "BSD-3-Clause" LICENSE
  googletest_1.12.1.orig.tar.gz
    81964fe578e9bd7c94dfdb09c8e4d6e6759e19967e397dbea48d1c10e45d0df2
    https://github.com/google/googletest/archive/release-1.12.1.tar.gz)
refract_library(benchmark 1.7.1 "Apache-2.0" LICENSE
  benchmark_1.7.1.orig.tar.gz
    6430e4092653380d9dc4ccb45a1e2dc9259d581f4866dc0759713126056bc1d7
    https://github.com/google/benchmark/archive/v1.7.1.tar.gz)
