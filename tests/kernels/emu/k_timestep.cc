/* kernels/cuda/timestep.cu for the emulator. */
#include "kernels/cuda/timestep.cu"
