# refract_add_test(NAME x SOURCES a_test.cpp ROOMS sae ... LABEL unit [RANKS 1 2 3 4] [LIBRARIES ...]
#                  [TIMEOUT 60])
# Builds one GoogleTest program and registers it: one process, or one ctest entry for each rank count.
function(refract_add_test)
  cmake_parse_arguments(ARG "" "NAME;LABEL;TIMEOUT" "SOURCES;ROOMS;RANKS;LIBRARIES" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 60)
  endif()
  set(target ${ARG_LABEL}_${ARG_NAME})
  add_executable(${target} ${ARG_SOURCES})
  list(TRANSFORM ARG_ROOMS PREPEND refract_ OUTPUT_VARIABLE rooms)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests ${PROJECT_SOURCE_DIR}/src)
  target_compile_definitions(${target} PRIVATE REFRACT_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  if(ARG_RANKS)
    target_link_libraries(${target} PRIVATE ${rooms} refract_flags GTest::gtest refract_mpi_test_main ${ARG_LIBRARIES})
    foreach(ranks IN LISTS ARG_RANKS)
      add_test(NAME ${target}.ranks_${ranks} COMMAND ${PROJECT_SOURCE_DIR}/tests/support/mpi_launch.sh
               ${MPIEXEC_EXECUTABLE} ${ranks} $<TARGET_FILE:${target}>)
      set_tests_properties(${target}.ranks_${ranks} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT}
                           PROCESSORS 2 ENVIRONMENT GOMP_SPINCOUNT=1000)
    endforeach()
  else()
    target_link_libraries(${target} PRIVATE ${rooms} refract_flags GTest::gtest GTest::gtest_main ${ARG_LIBRARIES})
    add_test(NAME ${target} COMMAND ${target})
    # Waiting threads give the core to the test beside them (src/app/main.cpp).
    set_tests_properties(${target} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT} ENVIRONMENT GOMP_SPINCOUNT=1000)
  endif()
endfunction()
