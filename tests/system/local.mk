# Not part of make check: see tests/system/run.
EXTRA_DIST += %reldir%/run %reldir%/machine.py %reldir%/unit.py %reldir%/packages.py %reldir%/readme.py %reldir%/container %reldir%/inside.service
