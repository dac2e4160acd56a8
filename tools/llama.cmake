# Read by CMake when llama.cpp is compiled: its library alone, without what its commands share, which takes longer to
# compile than the library.
set(LLAMA_BUILD_COMMON OFF)
