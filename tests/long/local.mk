# Not part of make check: see tests/long/run.
EXTRA_DIST += %reldir%/run %reldir%/threads %reldir%/attacks %reldir%/threads.supp
