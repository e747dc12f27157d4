# SPDX-License-Identifier: MIT
# How every file is compiled and linked, in one interface target: beck_options.
include(CheckPIESupported)
check_pie_supported(LANGUAGES C)

if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})

add_library(beck_options INTERFACE)
target_compile_definitions(beck_options INTERFACE _GNU_SOURCE)
target_compile_options(beck_options INTERFACE $<$<COMPILE_LANGUAGE:C>:
    -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition
    -Wpointer-arith -Wundef -Wvla -Wformat=2 -Wconversion -Wno-sign-conversion
    $<$<BOOL:${BECK_WERROR}>:-Werror>
    # Suspended tasks are walked by unwinders and by frame pointer; a big frame must not jump over
    # a stack's guard page, and an overrun buffer not return.
    -fno-omit-frame-pointer -fasynchronous-unwind-tables -fstack-clash-protection
    -fstack-protector-strong
    -ftls-model=initial-exec
    -fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=>)
target_link_options(beck_options INTERFACE -Wl,--as-needed -Wl,-z,relro,-z,now,-z,noexecstack)

if(BECK_SANITIZE)
    target_compile_options(beck_options INTERFACE
        -fsanitize=${BECK_SANITIZE} $<$<COMPILE_LANGUAGE:C>:-fno-sanitize-recover=all>)
    target_link_options(beck_options INTERFACE -fsanitize=${BECK_SANITIZE})
else()
    target_compile_options(beck_options INTERFACE
        $<$<AND:$<COMPILE_LANGUAGE:C>,$<NOT:$<CONFIG:Debug>>>:-D_FORTIFY_SOURCE=2>)
    target_link_options(beck_options INTERFACE -Wl,-z,defs)
endif()
if(BECK_FUZZ)
    target_compile_options(beck_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
