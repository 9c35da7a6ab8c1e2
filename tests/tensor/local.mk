# tests/tensor
