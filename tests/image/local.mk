# tests/image
