# refract_room(NAME SOURCES a.cpp ... ROOMS base ... LIBRARIES refract::hdf5 ...
#              [CUDA_SOURCES a_cuda.cu ... CUDA_LIBRARIES CUDA::cublas ...])
# One room is one static library. ROOMS are linked publicly and must be on a lower floor, so a forbidden
# arrow fails at configure time; LIBRARIES (third parties) stay private to the room. What is CUDA is added in a
# CUDA build only; the CUDA runtime comes with it. In every build tests/emulated compiles it once more, as C++; what
# calls a library of NVIDIA is named after it (cublas_gemm_cuda.cu, nccl_exchange.cpp) and has a stand-in there.
set(REFRACT_FLOOR_base 0)
set(REFRACT_FLOOR_config 1)
set(REFRACT_FLOOR_device 1)
set(REFRACT_FLOOR_tensor 2)
set(REFRACT_FLOOR_comm 3)
set(REFRACT_FLOOR_ops 3)
set(REFRACT_FLOOR_store 4)
foreach(room order corpus tokenizer lm sae metrics analysis)
  set(REFRACT_FLOOR_${room} 5)
endforeach()
set(REFRACT_FLOOR_stages 6)
set(REFRACT_FLOOR_pipeline 7)
set(REFRACT_FLOOR_app 8)

function(refract_room name)
  cmake_parse_arguments(ARG "" "" "SOURCES;ROOMS;LIBRARIES;CUDA_SOURCES;CUDA_LIBRARIES" ${ARGN})
  foreach(other IN LISTS ARG_ROOMS)
    if(NOT REFRACT_FLOOR_${other} LESS REFRACT_FLOOR_${name})
      message(FATAL_ERROR "room '${name}' (floor ${REFRACT_FLOOR_${name}}) may not use room '${other}' "
                          "(floor ${REFRACT_FLOOR_${other}}): rooms link lower floors only")
    endif()
  endforeach()
  add_library(refract_${name} STATIC ${ARG_SOURCES})
  target_include_directories(refract_${name}
    PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/include
    PRIVATE ${PROJECT_SOURCE_DIR}/src)
  list(TRANSFORM ARG_ROOMS PREPEND refract_ OUTPUT_VARIABLE rooms)
  target_link_libraries(refract_${name} PUBLIC ${rooms} fmt::fmt PRIVATE refract_flags ${ARG_LIBRARIES})
  set_target_properties(refract_${name} PROPERTIES
    REFRACT_ROOMS "${ARG_ROOMS}" REFRACT_LIBRARIES "${ARG_LIBRARIES}" REFRACT_CUDA_SOURCES "${ARG_CUDA_SOURCES}")
  if(REFRACT_HAS_CUDA AND (ARG_CUDA_SOURCES OR ARG_CUDA_LIBRARIES))
    target_sources(refract_${name} PRIVATE ${ARG_CUDA_SOURCES})
    target_link_libraries(refract_${name} PRIVATE ${ARG_CUDA_LIBRARIES} CUDA::cudart)
  endif()
endfunction()

# refract_vector_loops(NAME): functions of the room that are marked REFRACT_SIMD_CLONES are compiled for several
# instruction sets and chosen at start. Nothing is contracted in them and sums have fixed lanes, so every clone gives
# the same bytes.
include(CheckCXXSourceCompiles)
check_cxx_source_compiles(
  "[[gnu::target_clones(\"default\", \"avx2\")]] int f(int x) { return x; } int main() { return f(0); }"
  REFRACT_HAS_TARGET_CLONES)
function(refract_vector_loops name)
  if(REFRACT_HAS_TARGET_CLONES AND NOT REFRACT_SANITIZE)
    target_compile_definitions(refract_${name} PRIVATE
      "$<$<COMPILE_LANGUAGE:CXX>:REFRACT_SIMD_CLONES=[[gnu::target_clones(\"default\", \"avx2\")]]>")
  else()
    target_compile_definitions(refract_${name} PRIVATE REFRACT_SIMD_CLONES=)
  endif()
endfunction()
