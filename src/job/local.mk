# src/job
