/* kernels/cuda/strided.cu for the emulator. */
#include "kernels/cuda/strided.cu"
