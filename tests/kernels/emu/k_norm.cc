/* kernels/cuda/norm.cu for the emulator. */
#include "kernels/cuda/norm.cu"
