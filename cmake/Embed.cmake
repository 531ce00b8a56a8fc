# refract_embed(ROOM FILE TEMPLATE): the text of FILE becomes part of the room's library, so that the program needs no
# file beside it. TEMPLATE, a .cpp.in of the room, holds it as @REFRACT_EMBEDDED@ in a raw string whose mark is
# "embedded". FILE is read when CMake runs; a changed FILE makes CMake run again.
function(refract_embed room file template)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
  file(READ "${file}" REFRACT_EMBEDDED)
  string(FIND "${REFRACT_EMBEDDED}" ")embedded\"" mark)
  if(NOT mark EQUAL -1)
    message(FATAL_ERROR "${file} holds )embedded\", which would end the string that it is put into: change that text")
  endif()
  string(REPLACE ".in" "" name "${template}")
  configure_file("${template}" "${CMAKE_CURRENT_BINARY_DIR}/${name}" @ONLY)
  target_sources(refract_${room} PRIVATE "${CMAKE_CURRENT_BINARY_DIR}/${name}")
endfunction()
