# SPDX-License-Identifier: MIT
# What each layer links: beck_dep_<layer>, an interface target, empty where it needs nothing more.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

foreach(layer base rt net proto flow connectors)
    add_library(beck_dep_${layer} INTERFACE)
endforeach()

target_link_libraries(beck_dep_rt INTERFACE Threads::Threads ${CMAKE_DL_LIBS} m)
# The same as a user of libbeck.a needs it: pkg-config modules, and plain libraries.
set(BECK_NEEDS_MODULES "")
set(BECK_NEEDS_LIBRARIES pthread dl m)
if(BECK_URING)
    pkg_check_modules(LIBURING REQUIRED IMPORTED_TARGET liburing)
    target_link_libraries(beck_dep_rt INTERFACE PkgConfig::LIBURING)
    list(APPEND BECK_NEEDS_MODULES liburing)
else()
    target_compile_definitions(beck_dep_rt INTERFACE BECK_NO_URING=1)
endif()

if(NOT BECK_ONLY_RT)
    pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl>=3.0)
    pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
    pkg_check_modules(SQLITE3 REQUIRED IMPORTED_TARGET sqlite3)
    list(APPEND BECK_NEEDS_MODULES openssl zlib sqlite3)
    # Debian's libjq has no .pc file.
    find_path(JQ_INCLUDE_DIR jq.h REQUIRED)
    find_library(JQ_LIBRARY jq REQUIRED)
    list(APPEND BECK_NEEDS_LIBRARIES jq)

    target_link_libraries(beck_dep_net INTERFACE PkgConfig::OPENSSL)
    target_link_libraries(beck_dep_proto INTERFACE PkgConfig::ZLIB)
    target_link_libraries(beck_dep_flow INTERFACE PkgConfig::SQLITE3 ${JQ_LIBRARY})
    target_include_directories(beck_dep_flow SYSTEM INTERFACE ${JQ_INCLUDE_DIR})
endif()
