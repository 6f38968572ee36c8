# SPDX-License-Identifier: Apache-2.0
# Sends the allocations of a test program, and of the static libraries in it, through support/chaos_malloc.c.
include_guard()
function(fc_chaos_malloc target)
  if(NOT TARGET ${target}) # fc_test makes none under the thread sanitizer
    return()
  endif()
  foreach(name malloc calloc realloc aligned_alloc free)
    target_link_options(${target} PRIVATE -Wl,--wrap=${name})
  endforeach()
endfunction()
