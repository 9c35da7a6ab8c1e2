# src/diffusion
