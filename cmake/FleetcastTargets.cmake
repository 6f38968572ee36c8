# SPDX-License-Identifier: Apache-2.0
# fc_flags, fc_module(), fc_test(): every target of the project is made by one of these.

# --- flags: warnings, sanitizers, determinism; linked privately, never exported ---
add_library(fc_flags INTERFACE)
target_compile_features(fc_flags INTERFACE c_std_17)
target_compile_definitions(fc_flags INTERFACE _POSIX_C_SOURCE=200809L)
target_compile_options(fc_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla
  -Wdouble-promotion -Wformat=2 -ffp-contract=off -fno-math-errno -fvisibility=hidden)
if(FC_SANITIZE)
  target_compile_options(fc_flags INTERFACE -fsanitize=${FC_SANITIZE} -fno-sanitize-recover=all
    -fno-omit-frame-pointer)
  target_link_options(fc_flags INTERFACE -fsanitize=${FC_SANITIZE})
endif()
if(FC_FUZZERS)
  # without this in the library the fuzzer runs blind: coverage never grows
  target_compile_options(fc_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# fc_module(NAME [SOURCES f.c...] [DEPENDS module...] [PRIVATE library...])
# One layer-respecting static library: sees its own include/ and those of the modules it depends on,
# so that an upward #include is a compile error. PRIVATE libraries (libyaml, libmd, GSL) stay inside.
function(fc_module name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS;PRIVATE" ${ARGN})
  set(target fc_${name})
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/include/*.h)
  if(arg_SOURCES)
    add_library(${target} STATIC ${arg_SOURCES})
    set(scope PUBLIC)
    target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:fc_flags> ${arg_PRIVATE})
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  add_library(fleetcast::${name} ALIAS ${target})
  target_sources(${target} ${scope} FILE_SET HEADERS BASE_DIRS include FILES ${headers})
  foreach(dep ${arg_DEPENDS})
    target_link_libraries(${target} ${scope} fc_${dep})
  endforeach()
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name} VERIFY_INTERFACE_HEADER_SETS ON)
  set_property(GLOBAL APPEND PROPERTY FC_MODULES ${target})
endfunction()

# Criterion's macros define functions without prototypes; clang's NAN and INFINITY are floats
add_library(fc_test_flags INTERFACE)
target_compile_options(fc_test_flags INTERFACE -Wno-missing-prototypes -Wno-pedantic -Wno-double-promotion)

# fc_test(NAME [SOURCES f.c...] [LIBS target...] [LABEL unit|property|golden|cli|gpu] [TIMEOUT s] [STATISTICAL])
# A Criterion program registered with CTest. A sanitizer report fails it even when Criterion says
# "Passing"; exit code 77 means skipped.  STATISTICAL: repeats a case hundreds of times to count how often it holds; only
# in release builds, other tests run the same lines once.
#
# Not under the thread sanitizer: Criterion maps memory at fixed addresses and crashes there. What has threads is
# tested by plain programs and by the command line's tests, which do run.
function(fc_test name)
  if(FC_SANITIZE MATCHES "thread")
    return()
  endif()
  cmake_parse_arguments(arg "STATISTICAL" "LABEL;TIMEOUT" "SOURCES;LIBS" ${ARGN})
  if(arg_STATISTICAL AND (FC_SANITIZE OR NOT CMAKE_BUILD_TYPE STREQUAL "Release"))
    return()
  endif()
  if(NOT arg_LABEL)
    set(arg_LABEL unit)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  add_executable(test_${name} ${arg_SOURCES})
  target_link_libraries(test_${name} PRIVATE fc_flags fc_test_flags ${arg_LIBS} PkgConfig::CRITERION m)
  target_include_directories(test_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/support)
  target_compile_definitions(test_${name} PRIVATE FC_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
    FC_SHARED_DATA="${PROJECT_SOURCE_DIR}/../shared/data")
  add_test(NAME ${arg_LABEL}.${name} COMMAND test_${name} --jobs 2
           WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${arg_LABEL}.${name} PROPERTIES LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT}
    SKIP_RETURN_CODE 77
    ENVIRONMENT "OMP_WAIT_POLICY=passive" # tests run side by side: threads that spin while they wait slow each other down
    FAIL_REGULAR_EXPRESSION
    "SUMMARY: (Address|Leak|Thread|UndefinedBehavior)Sanitizer;runtime error:")
endfunction()
