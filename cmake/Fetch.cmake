# Builds the libraries of fetch/libraries.cmake that a site lacks, once, at configure time, into REFRACT_DEPS_PREFIX.
#
#   archive (mirror, or upstream by URL)  ->  sha256 as in the table  ->  fetch/build.sh  ->  prefix, stamp
#
# A library's stamp says from what and with which compiler it was built; while it is right nothing is done again.
option(REFRACT_FETCH "Build the small libraries that are missing from pinned source archives" OFF)
set(REFRACT_DEPS_MIRROR "" CACHE STRING
  "Where the source archives are: a folder, or the URL of a Debian mirror (what /pool is under). Empty: upstream's URLs")
set(REFRACT_DEPS_PREFIX "${PROJECT_BINARY_DIR}/deps" CACHE PATH "Where missing libraries are installed and looked for")
# A path given as -DREFRACT_DEPS_MIRROR=folder is relative to where cmake was called.
if(REFRACT_DEPS_MIRROR AND NOT REFRACT_DEPS_MIRROR MATCHES "^[a-z]+://")
  get_filename_component(REFRACT_DEPS_MIRROR "${REFRACT_DEPS_MIRROR}" ABSOLUTE BASE_DIR "$ENV{PWD}")
  set(REFRACT_DEPS_MIRROR "${REFRACT_DEPS_MIRROR}" CACHE STRING "" FORCE)
endif()

set(REFRACT_LIBRARIES "")
function(refract_library name version licence notice)
  set(REFRACT_LIBRARIES ${REFRACT_LIBRARIES} ${name} PARENT_SCOPE)
  set(REFRACT_LIBRARY_${name}_VERSION ${version} PARENT_SCOPE)
  set(REFRACT_LIBRARY_${name}_LICENCE ${licence} PARENT_SCOPE)
  set(REFRACT_LIBRARY_${name}_NOTICE ${notice} PARENT_SCOPE)
  set(REFRACT_LIBRARY_${name}_ARCHIVES ${ARGN} PARENT_SCOPE)
endfunction()
include(${CMAKE_CURRENT_LIST_DIR}/fetch/libraries.cmake)

set(REFRACT_FETCH_SCRIPT "${CMAKE_CURRENT_LIST_DIR}/fetch/build.sh")
set(REFRACT_FETCH_STAMPS "${REFRACT_DEPS_PREFIX}/share/refract-deps")

# A library's stamp, as it must read.
function(refract_fetch_stamp name out)
  file(SHA256 "${REFRACT_FETCH_SCRIPT}" recipe)
  list(GET REFRACT_LIBRARY_${name}_ARCHIVES 1 digest)
  set(${out} "${name} ${REFRACT_LIBRARY_${name}_VERSION}\narchive ${digest}\nbuild.sh ${recipe}\n\
C ${CMAKE_C_COMPILER_ID} ${CMAKE_C_COMPILER_VERSION}\nC++ ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}\n" PARENT_SCOPE)
endfunction()

# Those that are in our prefix and as they should be, except what only tests and benchmarks link.
function(refract_fetch_built names)
  refract_fetch_sort(built outdated)
  list(REMOVE_ITEM built googletest benchmark)
  set(${names} ${built} PARENT_SCOPE)
endfunction()

# The libraries that an earlier configure began in our prefix and that are not, or no longer, what they should be: what
# it left may look whole.
function(refract_fetch_outdated names)
  refract_fetch_sort(built outdated)
  set(${names} ${outdated} PARENT_SCOPE)
endfunction()

function(refract_fetch_sort built outdated)
  set(good "")
  set(bad "")
  foreach(name IN LISTS REFRACT_LIBRARIES)
    if(EXISTS "${REFRACT_FETCH_STAMPS}/${name}")
      file(READ "${REFRACT_FETCH_STAMPS}/${name}" is)
      refract_fetch_stamp(${name} should_be)
      if(is STREQUAL should_be)
        list(APPEND good ${name})
      else()
        list(APPEND bad ${name})
      endif()
    endif()
  endforeach()
  set(${built} ${good} PARENT_SCOPE)
  set(${outdated} ${bad} PARENT_SCOPE)
endfunction()

# refract_fetch_verify(FILE SHA256 NAME): stops when the file has other bytes than the table says.
function(refract_fetch_verify file digest name)
  file(SHA256 "${file}" found)
  if(NOT found STREQUAL digest)
    message(FATAL_ERROR "refract: ${file} is not the archive of ${name} that is pinned: its SHA-256 is ${found}, "
      "expected ${digest} (cmake/fetch/libraries.cmake). Remove the file and fetch it again; if the same digest comes "
      "back, do not build from it.")
  endif()
endfunction()

# Downloads to FILE, verified. What is not to be had is left out; without network the next ones are not tried.
function(refract_fetch_download url file digest name)
  message(STATUS "refract: fetching ${url}")
  file(DOWNLOAD "${url}" "${file}.part" STATUS status INACTIVITY_TIMEOUT 60)
  list(POP_FRONT status code text)
  if(code EQUAL 0)
    refract_fetch_verify("${file}.part" ${digest} ${name})
    file(RENAME "${file}.part" "${file}")
    return()
  endif()
  message(STATUS "refract: not fetched: ${text}")
  file(REMOVE "${file}.part")
  if(code MATCHES "^(5|6|7|28|35|60|77)$")  # libcurl's: no name, no connection, no answer, no trust
    set_property(GLOBAL PROPERTY REFRACT_FETCH_NO_NETWORK TRUE)
  endif()
endfunction()

# Sets `archive` to a verified file of the library, or to "" and `wanted` to a command that fetches one.
function(refract_fetch_archive name archive wanted)
  set(${archive} "" PARENT_SCOPE)
  set(command "")
  set(folder "${REFRACT_DEPS_PREFIX}/archives")
  set(rest ${REFRACT_LIBRARY_${name}_ARCHIVES})
  while(rest)
    list(POP_FRONT rest file digest url)
    if(REFRACT_DEPS_MIRROR MATCHES "^[a-z]+://")
      # The pool of a Debian mirror: main/<first letter, or lib and the next>/<source package>/<archive>
      string(REGEX MATCH "^[^_]+" source "${file}")
      string(REGEX MATCH "^(lib)?." section "${source}")
      set(url "-")
      if(file MATCHES "\\.orig\\.tar\\.")
        set(url "${REFRACT_DEPS_MIRROR}/pool/main/${section}/${source}/${file}")
      endif()
    elseif(REFRACT_DEPS_MIRROR)
      set(folder "${REFRACT_DEPS_MIRROR}")
    endif()
    get_property(no_network GLOBAL PROPERTY REFRACT_FETCH_NO_NETWORK)
    if(NOT EXISTS "${folder}/${file}" AND NOT folder STREQUAL REFRACT_DEPS_MIRROR AND NOT url STREQUAL "-"
       AND NOT no_network)
      refract_fetch_download("${url}" "${folder}/${file}" ${digest} ${name})
    endif()
    if(EXISTS "${folder}/${file}")
      refract_fetch_verify("${folder}/${file}" ${digest} ${name})
      set(${archive} "${folder}/${file}" PARENT_SCOPE)
      return()
    endif()
    if(NOT url STREQUAL "-" AND NOT command)
      set(command "\n  curl -fL -o ${file} ${url}\n    # ${name} ${REFRACT_LIBRARY_${name}_VERSION}, sha256 ${digest}")
    endif()
  endwhile()
  set(${wanted} "${command}" PARENT_SCOPE)
endfunction()

# Log, and stop with one line when the script fails.
function(refract_fetch_build name archive)
  set(work "${PROJECT_BINARY_DIR}/deps-build/${name}")
  set(log "${PROJECT_BINARY_DIR}/deps-build/${name}.log")
  file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/deps-build" "${REFRACT_FETCH_STAMPS}")
  set(jobs "$ENV{CMAKE_BUILD_PARALLEL_LEVEL}")
  if(NOT jobs)
    cmake_host_system_information(RESULT jobs QUERY NUMBER_OF_LOGICAL_CORES)
    if(jobs GREATER 8)  # a login node is shared
      set(jobs 8)
    endif()
  endif()
  string(JOIN ":" prefixes ${CMAKE_PREFIX_PATH} $ENV{CMAKE_PREFIX_PATH})
  set(NOTICE ${REFRACT_LIBRARY_${name}_NOTICE})
  message(STATUS "refract: building ${name} ${REFRACT_LIBRARY_${name}_VERSION} (log: ${log})")
  string(TIMESTAMP begin "%s")
  file(WRITE "${REFRACT_FETCH_STAMPS}/${name}" "begun\n")
  execute_process(
    COMMAND ${CMAKE_COMMAND} -E env "CC=${CMAKE_C_COMPILER}" "CXX=${CMAKE_CXX_COMPILER}" "CMAKE=${CMAKE_COMMAND}"
            "JOBS=${jobs}" "NOTICE=${NOTICE}" "CMAKE_PREFIX_PATH=${prefixes}"
            bash "${REFRACT_FETCH_SCRIPT}" ${name} "${archive}" "${work}" "${REFRACT_DEPS_PREFIX}"
    RESULT_VARIABLE code OUTPUT_FILE "${log}" ERROR_FILE "${log}")
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "refract: ${name} ${REFRACT_LIBRARY_${name}_VERSION} could not be built (exit code ${code}); "
      "the last lines of ${log} say why. Load it as a module instead, or correct the cause and configure again.")
  endif()
  refract_fetch_stamp(${name} stamp)
  file(WRITE "${REFRACT_FETCH_STAMPS}/${name}" "${stamp}")
  file(REMOVE_RECURSE "${work}")
  string(TIMESTAMP end "%s")
  math(EXPR seconds "${end} - ${begin}")
  message(STATUS "refract: built ${name} in ${seconds} s")
endfunction()

# refract_fetch(NAME...): all of them are in the prefix afterwards, or nothing was built and one message says which
# archives are wanted.
function(refract_fetch)
  file(MAKE_DIRECTORY "${REFRACT_DEPS_PREFIX}/archives")
  file(LOCK "${REFRACT_DEPS_PREFIX}" DIRECTORY GUARD FUNCTION RESULT_VARIABLE locked TIMEOUT 0)
  if(NOT locked EQUAL 0)
    message(FATAL_ERROR "refract: another cmake builds in ${REFRACT_DEPS_PREFIX} (${locked}). Wait for it, or give "
      "each its own with -DREFRACT_DEPS_PREFIX=<folder>.")
  endif()
  set(names "")
  foreach(name IN LISTS REFRACT_LIBRARIES)
    if(name IN_LIST ARGN)
      list(APPEND names ${name})
    endif()
  endforeach()

  set(absent "")
  set(commands "")
  foreach(name IN LISTS names)
    set(wanted "")
    refract_fetch_archive(${name} archive_${name} wanted)
    if(NOT archive_${name})
      list(APPEND absent ${name})
      string(APPEND commands "${wanted}")
    endif()
  endforeach()
  if(absent)
    list(LENGTH absent count)
    if(REFRACT_DEPS_MIRROR)
      set(where "not in ${REFRACT_DEPS_MIRROR}")
    else()
      set(where "not reached by network")
    endif()
    message(FATAL_ERROR "refract: ${count} source archives are missing (${where}); nothing was built. Where there is "
      "network, a login node for example, fetch them into one folder:${commands}\n"
      "then: cmake --preset cluster -DREFRACT_FETCH=ON -DREFRACT_DEPS_MIRROR=<that folder>")
  endif()
  foreach(name IN LISTS names)
    refract_fetch_build(${name} "${archive_${name}}")
  endforeach()
endfunction()
