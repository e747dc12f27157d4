# SPDX-License-Identifier: MIT
# build/beck, build/examples/NAME and build/bench/NAME.

# The command sees the public headers and the exported symbols only: it links the shared library,
# which a stage that it loads finds already in place.
beck_sources(cli_sources cli)
list(FILTER cli_sources EXCLUDE REGEX "/main\\.c$")
beck_layer_use(cli src/cli beck_options beck_public)
if(cli_sources)
    add_library(beck_cli OBJECT ${cli_sources})
    target_link_libraries(beck_cli PRIVATE beck_cli_use)
    set(BECK_CLI_OBJECTS $<TARGET_OBJECTS:beck_cli>)
endif()
if(EXISTS ${PROJECT_SOURCE_DIR}/src/cli/main.c)
    add_executable(beck ${PROJECT_SOURCE_DIR}/src/cli/main.c ${BECK_CLI_OBJECTS})
    target_link_libraries(beck PRIVATE beck_cli_use beck_shared)
    file(RELATIVE_PATH lib_from_bin ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
    set_target_properties(beck PROPERTIES INSTALL_RPATH "$ORIGIN/${lib_from_bin}")
    install(TARGETS beck)
    install(DIRECTORY man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 FILES_MATCHING PATTERN "*.1")
    add_dependencies(product beck)
endif()

# Whole programs of one file each, linked statically; further arguments: what else they may use.
function(beck_programs folder prefix)
    file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.c)
    foreach(source ${sources})
        cmake_path(GET source STEM name)
        add_executable(${prefix}${name} ${source})
        target_link_libraries(${prefix}${name} PRIVATE beck_options beck_static m ${ARGN})
        set_target_properties(${prefix}${name} PROPERTIES
            OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/${folder})
        add_dependencies(product ${prefix}${name})
    endforeach()
endfunction()
beck_programs(examples "")
beck_programs(bench bench_ ${BECK_TOP_USE})   # a benchmark may look inside
