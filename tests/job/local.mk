# tests/job
