# SPDX-License-Identifier: MIT
# libbeck.a and libbeck.so out of the layers' objects, and what installation adds to them.
include(CMakePackageConfigHelpers)

if(NOT BECK_OBJECTS)
    return()
endif()

foreach(kind static shared)
    string(TOUPPER ${kind} KIND)
    add_library(beck_${kind} ${KIND} ${BECK_OBJECTS})
    set_target_properties(beck_${kind} PROPERTIES OUTPUT_NAME beck LINKER_LANGUAGE C)
    target_include_directories(beck_${kind} INTERFACE
        $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
        $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    target_link_libraries(beck_${kind} PRIVATE $<BUILD_INTERFACE:${BECK_TOP_USE}>)
endforeach()
# What plain `make` builds: everything but the tests.
add_custom_target(product DEPENDS beck_static beck_shared)
set_target_properties(beck_shared PROPERTIES
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} EXPORT_NAME beck)
set_target_properties(beck_static PROPERTIES EXPORT_NAME beck-static)
set(static_needs ${BECK_NEEDS_LIBRARIES})
foreach(module ${BECK_NEEDS_MODULES})
    string(TOUPPER ${module} MODULE)
    list(APPEND static_needs ${${MODULE}_LIBRARIES})
endforeach()
target_link_libraries(beck_static INTERFACE "$<INSTALL_INTERFACE:${static_needs}>")

if(BECK_ONLY_RT)
    return()
endif()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/beck)
install(TARGETS beck_shared beck_static EXPORT beck)
install(EXPORT beck NAMESPACE beck:: DESTINATION ${package_dir} FILE beckConfig.cmake)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/beckConfigVersion.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/beckConfigVersion.cmake DESTINATION ${package_dir})

# The .pc file finds its prefix from where it lies, so that the tree may be installed anywhere.
file(RELATIVE_PATH BECK_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
list(JOIN BECK_NEEDS_MODULES " " BECK_PC_REQUIRES)
list(TRANSFORM BECK_NEEDS_LIBRARIES PREPEND "-l" OUTPUT_VARIABLE BECK_PC_LIBS)
list(JOIN BECK_PC_LIBS " " BECK_PC_LIBS)
configure_file(cmake/beck.pc.in beck.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/beck.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${PROJECT_BINARY_DIR}/reference/man3 DESTINATION ${CMAKE_INSTALL_MANDIR} OPTIONAL)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
if(EXISTS ${PROJECT_SOURCE_DIR}/scripts/beck-gdb.py)
    install(FILES scripts/beck-gdb.py DESTINATION ${CMAKE_INSTALL_DATADIR}/beck)
endif()
