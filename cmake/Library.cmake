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
    target_include_directories(beck_${kind} PUBLIC
        $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
        $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    target_link_libraries(beck_${kind} PRIVATE $<BUILD_INTERFACE:${BECK_TOP_USE}>)
endforeach()
set_target_properties(beck_shared PROPERTIES
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} EXPORT_NAME beck)
set_target_properties(beck_static PROPERTIES EXPORT_NAME beck-static)
