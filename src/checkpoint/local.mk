# src/checkpoint
