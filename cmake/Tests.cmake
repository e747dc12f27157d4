# SPDX-License-Identifier: MIT
# build/tests/NAME for every *_test.c, and ctest's list: each on both backends where it has a loop.
enable_testing()

set(BECK_TEST_LIMIT 180)   # a busy machine runs them several times slower
set(sanitizer_env "")
if(BECK_SANITIZE OR BECK_FUZZ)
    set(BECK_TEST_LIMIT 600)
    set(sanitizer_env ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
        "TSAN_OPTIONS=suppressions='${PROJECT_SOURCE_DIR}/tests/tsan.supp'")
endif()
# The system's python3 is the one that Debian's modules belong to.
find_program(BECK_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH)
find_program(BECK_PYTHON python3)
beck_layer_use(tests tests)   # "tests/check.h"

# One ctest entry for each backend; the backend "-" means that none is named.  Whom tests talk to is
# on this machine, and no proxy that the environment names is asked for it.
function(beck_register name label limit backends)
    foreach(backend ${backends})
        set(entry ${label}/${name})
        set(env BECK_BUILD=${PROJECT_BINARY_DIR} BECK_SOURCE=${PROJECT_SOURCE_DIR}
            "no_proxy=*" "NO_PROXY=*" ${sanitizer_env})
        if(NOT backend STREQUAL "-")
            string(APPEND entry :${backend})
            list(APPEND env BECK_BACKEND=${backend})
        endif()
        add_test(NAME ${entry} COMMAND ${ARGN})
        set_tests_properties(${entry} PROPERTIES
            LABELS ${label} TIMEOUT ${limit} SKIP_RETURN_CODE 77 ENVIRONMENT "${env}")
    endforeach()
endfunction()

# Every src/<label>/*_test.c, or tests/*_test.c for the label "tests".
function(beck_unit_tests label objects use)
    set(folder ${PROJECT_SOURCE_DIR}/src/${label})
    if(label STREQUAL "tests")
        set(folder ${PROJECT_SOURCE_DIR}/tests)
    endif()
    set(backends epoll uring)
    if(label STREQUAL "base")
        set(backends -)
    elseif(NOT BECK_URING)
        set(backends epoll)
    endif()
    file(GLOB tests CONFIGURE_DEPENDS ${folder}/*_test.c)
    foreach(source ${tests})
        cmake_path(GET source STEM name)
        add_executable(${name} ${source} ${objects})
        target_link_libraries(${name} PRIVATE beck_tests_use ${use})
        set_target_properties(${name} PROPERTIES
            RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
        beck_register(${name} ${label} ${BECK_TEST_LIMIT} "${backends}" ${name})
    endforeach()
endfunction()

foreach(layer ${BECK_LAYERS})
    beck_unit_tests(${layer} "${BECK_OBJECTS_UPTO_${layer}}" beck_${layer}_use)
endforeach()
if(NOT BECK_ONLY_RT)
    beck_unit_tests(cli "${BECK_CLI_OBJECTS};${BECK_OBJECTS}" "beck_cli_use;${BECK_TOP_USE}")
    beck_unit_tests(tests "${BECK_OBJECTS}" ${BECK_TOP_USE})

    # Written against the public headers alone, like an example.
    file(GLOB traces CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/traces/*.c)
    add_executable(asyncio_traces ${PROJECT_SOURCE_DIR}/tests/asyncio_traces.c ${traces})
    target_link_libraries(asyncio_traces PRIVATE beck_options beck_tests_use beck_static)
    set_target_properties(asyncio_traces PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
    add_dependencies(product asyncio_traces)

    # Scripts.  "# once": neither backend nor sanitizer matters.  "# limit N": seconds.
    file(GLOB scripts CONFIGURE_DEPENDS
        ${PROJECT_SOURCE_DIR}/tests/*_test.sh ${PROJECT_SOURCE_DIR}/tests/*_test.py)
    foreach(script ${scripts})
        set(interpreter bash)
        if(script MATCHES "\\.py$")
            set(interpreter ${BECK_PYTHON})
        endif()
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${script})
        file(STRINGS ${script} once REGEX "^# once$")
        file(STRINGS ${script} limit REGEX "^# limit [0-9]+$")
        string(REGEX REPLACE "^# limit " "" limit "${limit}")
        if(NOT limit)
            set(limit ${BECK_TEST_LIMIT})
        endif()
        cmake_path(GET script STEM name)
        if(NOT once)
            beck_register(${name} tests ${limit} "epoll;uring" ${interpreter} ${script})
        elseif(NOT BECK_SANITIZE AND NOT BECK_FUZZ)
            beck_register(${name} tests ${limit} - ${interpreter} ${script})
            set_property(TEST tests/${name} APPEND PROPERTY LABELS once)
        endif()
    endforeach()
endif()

# Each src/<layer>/NAME_fuzz.c: with BECK_FUZZ build/fuzz/fuzz/NAME, which fuzzes for the
# environment's FUZZ_SECONDS, else a test that replays the inputs in tests/corpus/NAME.
add_custom_target(fuzzers)
foreach(layer ${BECK_LAYERS})
    file(GLOB fuzzers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${layer}/*_fuzz.c)
    foreach(source ${fuzzers})
        cmake_path(GET source STEM stem)
        string(REGEX REPLACE "_fuzz$" "" name ${stem})
        set(seeds ${PROJECT_SOURCE_DIR}/tests/corpus/${name})
        add_executable(${stem} ${source} ${BECK_OBJECTS_UPTO_${layer}})
        target_link_libraries(${stem} PRIVATE beck_${layer}_use)
        if(BECK_FUZZ)
            target_link_options(${stem} PRIVATE -fsanitize=fuzzer)
            set_target_properties(${stem} PROPERTIES
                OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
            set(found ${PROJECT_BINARY_DIR}/corpus/${name})
            file(MAKE_DIRECTORY ${found})
            add_dependencies(fuzzers ${stem})
            beck_register(${name} fuzz ${BECK_TEST_LIMIT} -
                sh -c "exec \"$0\" -max_total_time=\${FUZZ_SECONDS:-10} \"$@\""
                $<TARGET_FILE:${stem}>
                -artifact_prefix=${PROJECT_BINARY_DIR}/${name}- ${found} ${seeds})
        else()
            target_sources(${stem} PRIVATE tests/replay.c)
            set_target_properties(${stem} PROPERTIES
                RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
            beck_register(${stem} ${layer} ${BECK_TEST_LIMIT} - ${stem} ${seeds})
        endif()
    endforeach()
endforeach()
