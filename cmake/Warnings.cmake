# Flags every target gets. -ffp-contract=off (nvcc: --fmad=false) keeps the compiler from fusing a*b+c on its own:
# results must not depend on how the optimiser happened to inline a loop. Kernels that want FMA say so.
# --expt-relaxed-constexpr: a kernel may call a constexpr function that the CPU body calls too.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
# An installed binary finds the libraries of a site's modules also where a job forgot to load them.
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
find_program(REFRACT_CCACHE ccache)
if(REFRACT_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${REFRACT_CCACHE})
endif()

add_library(refract_flags INTERFACE)
target_compile_options(refract_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CUDA>:--fmad=false --expt-relaxed-constexpr>
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -ffp-contract=off>)
if(REFRACT_SANITIZE)
  target_compile_options(refract_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=address,undefined -fno-omit-frame-pointer>)
  target_link_options(refract_flags INTERFACE -fsanitize=address,undefined)
endif()
