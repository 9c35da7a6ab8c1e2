EXTRA_DIST += %reldir%/run
