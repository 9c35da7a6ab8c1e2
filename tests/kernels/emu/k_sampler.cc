/* kernels/cuda/sampler.cu for the emulator. */
#include "kernels/cuda/sampler.cu"
