# SPDX-License-Identifier: Apache-2.0
# Installation: the program, the libraries with their headers, the shipped data, and a CMake package.
include(CMakePackageConfigHelpers)

get_property(modules GLOBAL PROPERTY FC_MODULES)
install(TARGETS ${modules} EXPORT fleetcastTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(TARGET fleetcast)
  install(TARGETS fleetcast fleetcast-bench RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY scenarios DESTINATION ${CMAKE_INSTALL_DATADIR}/fleetcast)
install(EXPORT fleetcastTargets NAMESPACE fleetcast:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/fleetcast)
configure_package_config_file(cmake/fleetcastConfig.cmake.in ${PROJECT_BINARY_DIR}/fleetcastConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/fleetcast)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/fleetcastConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/fleetcastConfig.cmake ${PROJECT_BINARY_DIR}/fleetcastConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/fleetcast)
