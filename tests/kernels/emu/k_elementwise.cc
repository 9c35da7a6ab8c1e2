/* kernels/cuda/elementwise.cu for the emulator. */
#include "kernels/cuda/elementwise.cu"
