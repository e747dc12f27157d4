# SPDX-License-Identifier: MIT
# One object library for each layer.  "rt/x.h" is found through build/layers/rt, which holds one
# link, rt -> src/rt.  A layer is given its own such directory and those of the layers before it, so
# that an include of a later layer does not compile.
set(BECK_LAYERS base rt net proto flow connectors)
if(BECK_ONLY_RT)
    set(BECK_LAYERS base rt)
endif()

# The sources of src/<layer>, without tests and fuzz targets.
function(beck_sources out layer)
    file(GLOB sources CONFIGURE_DEPENDS
        ${PROJECT_SOURCE_DIR}/src/${layer}/*.c ${PROJECT_SOURCE_DIR}/src/${layer}/*.S)
    list(FILTER sources EXCLUDE REGEX "_(test|fuzz)\\.c$")
    if(NOT BECK_URING)
        list(FILTER sources EXCLUDE REGEX "/backend_uring\\.c$")
    endif()
    set(${out} ${sources} PARENT_SCOPE)
endfunction()

# beck_<layer>_use: what including and linking the layer in FOLDER, and all it builds on, takes.
function(beck_layer_use layer folder)
    set(links ${PROJECT_BINARY_DIR}/layers/${layer})
    file(MAKE_DIRECTORY ${links})
    file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${folder} ${links}/${layer} SYMBOLIC)
    add_library(beck_${layer}_use INTERFACE)
    target_include_directories(beck_${layer}_use INTERFACE ${links})
    target_compile_options(beck_${layer}_use INTERFACE $<$<COMPILE_LANGUAGE:C>:
        -fdebug-prefix-map=${links}/${layer}=${PROJECT_SOURCE_DIR}/${folder}
        -fmacro-prefix-map=${links}/${layer}=${folder}>)
    target_link_libraries(beck_${layer}_use INTERFACE ${ARGN})
endfunction()

add_library(beck_public INTERFACE)
target_include_directories(beck_public INTERFACE ${PROJECT_SOURCE_DIR}/include)

set(below beck_options beck_public)
set(BECK_OBJECTS "")
foreach(layer ${BECK_LAYERS})
    beck_layer_use(${layer} src/${layer} ${below} beck_dep_${layer})
    set(below beck_${layer}_use)
    beck_sources(sources ${layer})
    if(sources)
        add_library(beck_${layer} OBJECT ${sources})
        target_link_libraries(beck_${layer} PRIVATE beck_${layer}_use)
        # Task stacks are small.  (A sanitizer makes frames bigger than they are.)
        if(NOT BECK_SANITIZE)
            target_compile_options(beck_${layer} PRIVATE
                $<$<COMPILE_LANGUAGE:C>:-Wframe-larger-than=4096>)
        endif()
        list(APPEND BECK_OBJECTS $<TARGET_OBJECTS:beck_${layer}>)
    endif()
    set(BECK_OBJECTS_UPTO_${layer} ${BECK_OBJECTS})
endforeach()
set(BECK_TOP_USE ${below})
if(TARGET beck_base)
    target_compile_definitions(beck_base PRIVATE BECK_VERSION="${PROJECT_VERSION}")
endif()
