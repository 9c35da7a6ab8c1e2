/* kernels/cuda/window.cu for the emulator. */
#include "kernels/cuda/window.cu"
