/* kernels/cuda/attention.cu for the emulator. */
#include "kernels/cuda/attention.cu"
