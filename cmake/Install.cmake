# `cmake --install BUILD --prefix P`: the binary, what a job needs beside it, the documents, and a modulefile that
# finds all this from where it lies, so that the prefix can be moved.
#   P/bin/refract                        P/share/refract/{jobs,configs,modulefiles}
#   P/share/doc/refract                  documents; licences/ of what the binary holds of others
set(share share/refract)
set(doc share/doc/refract)
install(TARGETS refract RUNTIME DESTINATION bin)
# Those three work on a source tree.
install(DIRECTORY jobs DESTINATION ${share} USE_SOURCE_PERMISSIONS
        PATTERN setup.sh EXCLUDE PATTERN build.sh EXCLUDE PATTERN demo.sh EXCLUDE)
install(DIRECTORY configs DESTINATION ${share})
install(DIRECTORY docs DESTINATION ${doc})
install(FILES README.md LICENSE NOTICE CHANGELOG.md DESTINATION ${doc})

# One table row for each library that was built here and is therefore inside the binary.
if(REFRACT_BUILT)
  set(rows "")
  foreach(name IN LISTS REFRACT_BUILT)
    string(APPEND rows "| ${name} | ${REFRACT_LIBRARY_${name}_VERSION} | ${REFRACT_LIBRARY_${name}_LICENCE} "
      "| ${name}/${REFRACT_LIBRARY_${name}_NOTICE} |\n")
    install(DIRECTORY "${REFRACT_DEPS_PREFIX}/share/licences/${name}" DESTINATION ${doc}/licences)
  endforeach()
  file(WRITE "${PROJECT_BINARY_DIR}/install/licences.md"
    "# What bin/refract holds of others\n\nLinked statically when it was built with REFRACT_FETCH=ON.\n\n"
    "| library | version | licence | text |\n|---|---|---|---|\n${rows}")
  install(FILES "${PROJECT_BINARY_DIR}/install/licences.md" DESTINATION ${doc}/licences RENAME README.md)
endif()

# The modules that are loaded now are the ones the binary needs later.
string(REPLACE ":" ";" REFRACT_MODULES_LOADED "$ENV{LOADEDMODULES}")
set(REFRACT_MODULES "${REFRACT_MODULES_LOADED}" CACHE STRING "Modules that the modulefile of refract loads first")
set(lua_modules "")
set(tcl_modules "")
foreach(name IN LISTS REFRACT_MODULES)
  string(APPEND lua_modules "depends_on(\"${name}\")\n")
  string(APPEND tcl_modules "module load ${name}\n")
endforeach()
configure_file(cmake/modulefile.lua.in install/modulefile.lua @ONLY)
configure_file(cmake/modulefile.tcl.in install/modulefile.tcl @ONLY)
foreach(language lua tcl)
  set(file ${PROJECT_VERSION}.${language})
  string(REPLACE ".tcl" "" file ${file})  # Tcl modulefiles have no ending
  install(FILES "${PROJECT_BINARY_DIR}/install/modulefile.${language}" RENAME ${file}
          DESTINATION ${share}/modulefiles/refract)
endforeach()
