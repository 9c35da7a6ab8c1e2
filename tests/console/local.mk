# Not part of make check: it needs a browser.
EXTRA_DIST += %reldir%/run
