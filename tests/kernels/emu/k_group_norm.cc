/* kernels/cuda/group_norm.cu for the emulator. */
#include "kernels/cuda/group_norm.cu"
