# SPDX-License-Identifier: Apache-2.0
# Sends the allocations of a test program, and of the static libraries in it, through chaos_malloc.c, for exhaust.c.
function(fc_chaos_malloc target)
  if(NOT TARGET ${target}) # fc_test makes none under the thread sanitizer
    return()
  endif()
  target_sources(${target} PRIVATE ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/chaos_malloc.c
    ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/exhaust.c)
  foreach(name malloc calloc realloc aligned_alloc free)
    target_link_options(${target} PRIVATE -Wl,--wrap=${name})
  endforeach()
endfunction()
