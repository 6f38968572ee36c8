# SPDX-License-Identifier: Apache-2.0
# Installation: the program, the libraries with their headers, the shipped data, and a CMake package.
