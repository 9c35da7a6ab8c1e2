/* kernels/cuda/layout.cu for the emulator. */
#include "kernels/cuda/layout.cu"
