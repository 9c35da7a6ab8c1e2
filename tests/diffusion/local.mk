# tests/diffusion
