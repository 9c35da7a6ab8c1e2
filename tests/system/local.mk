# Not part of make check: see tests/system/run.
EXTRA_DIST += %reldir%/run %reldir%/inside.py %reldir%/inside.service
