/* kernels/cuda/embed.cu for the emulator. */
#include "kernels/cuda/embed.cu"
