# SPDX-License-Identifier: Apache-2.0
# CUDA without CMake's CUDA language: one custom command a file, so that C stays the project's only language, the
# program links with the C linker and no libstdc++, and ptxas' report of each file is kept for the static check.
get_filename_component(cuda_root ${CMAKE_CUDA_COMPILER} DIRECTORY)
get_filename_component(cuda_root ${cuda_root} DIRECTORY)
set(FC_CUDA_ROOT ${cuda_root} CACHE INTERNAL "of the toolkit that nvcc is from")
# cuDNN's headers, where they are not beside the toolkit's (a Python framework's copy will do)
set(FC_CUDNN_INCLUDE "" CACHE PATH "Folder of cudnn_backend.h")
# Tensor-core kernels are Hopper's alone; the others also run on Ampere, and from PTX on what comes after Hopper
set(FC_CUDA_HOPPER_ONLY grouped_gemm grouped_wgrad mla_decode gqa_decode)
set(FC_CUDA_OTHERS -gencode=arch=compute_80,code=sm_80 -gencode=arch=compute_90,code=compute_90)
set(FC_NVCC_FLAGS -std=c++17 -O3 -gencode=arch=compute_90a,code=sm_90a -Werror all-warnings
    -Xcompiler=-fno-threadsafe-statics,-fno-exceptions,-fno-rtti,-Wall,-Wextra -Xptxas=-v)

# fc_cuda_library(NAME): the objects of kernels/cuda/*.cu and kernels/nvidia/*.c
function(fc_cuda_library name)
  file(GLOB cuda_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/cuda/*.cu)
  file(GLOB cuda_headers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/cuda/*.cuh ${CMAKE_CURRENT_SOURCE_DIR}/include/*/*/*.h)
  file(GLOB nvidia_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/nvidia/*.c)
  set(includes)
  foreach(module base hw cost)
    list(APPEND includes -I${PROJECT_SOURCE_DIR}/sim/${module}/include)
  endforeach()
  set(objects)
  foreach(source ${cuda_sources})
    get_filename_component(stem ${source} NAME_WE)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/cuda/${stem}.o)
    # ptxas tells registers, shared memory and spills on stderr: kept beside the object
    set(others ${FC_CUDA_OTHERS})
    if(stem IN_LIST FC_CUDA_HOPPER_ONLY)
      set(others)
    endif()
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/cuda/compile ${CMAKE_CUDA_COMPILER} ${source} ${object}
              ${FC_NVCC_FLAGS} ${others} -I${CMAKE_CURRENT_SOURCE_DIR}/include ${includes}
      DEPENDS ${source} ${cuda_headers} ${CMAKE_CURRENT_SOURCE_DIR}/cuda/compile VERBATIM
      COMMENT "Building CUDA object ${stem}.o")
    list(APPEND objects ${object})
  endforeach()
  set_source_files_properties(${objects} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  add_library(${name} STATIC ${CMAKE_CURRENT_SOURCE_DIR}/cuda/tables.c ${nvidia_sources} ${objects})
  target_include_directories(${name} SYSTEM PRIVATE ${cuda_root}/include ${FC_CUDNN_INCLUDE})
  target_link_libraries(${name} PRIVATE fc_flags fc_kernels ${cuda_root}/lib64/libcudart_static.a ${CMAKE_DL_LIBS} rt pthread)
endfunction()
