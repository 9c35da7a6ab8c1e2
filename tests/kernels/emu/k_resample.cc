/* kernels/cuda/resample.cu for the emulator. */
#include "kernels/cuda/resample.cu"
