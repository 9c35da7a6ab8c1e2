# The rules of docs/STYLE.md and docs/ARCHITECTURE.md that a machine can hold.
lint_tests = tests/lint/check-layers tests/lint/check-headers tests/lint/check-style \
    tests/lint/check-cycles
dist_check_SCRIPTS += $(lint_tests)
TESTS += $(lint_tests)
EXTRA_DIST += %reldir%/layers %reldir%/cycles

header_flags = -I. -I$(srcdir)/src -I$(srcdir) $(DEFS) $(CPPFLAGS) $(JANSSON_CFLAGS) \
    $(LIBUV_CFLAGS) $(MHD_CFLAGS) $(JPEG_CFLAGS) $(SPNG_CFLAGS) $(WEBP_CFLAGS) $(CN_SAN)
header_cc = $(CC) -std=gnu11 $(header_flags) $(CN_OPT) $(CN_WARN)
if CN_CUDA_STANDIN
header_cuda = $(CUDA_CFLAGS)
endif
header_cxx = $(CC) -x c++ -std=c++17 -fno-exceptions -fno-rtti -Wall -Wextra $(header_flags)

check-layers check-style check-cycles:
	$(srcdir)/tests/lint/$@
check-headers: config.h
	srcdir='$(srcdir)' CN_HEADER_CC='$(header_cc)' CN_HEADER_CXX='$(header_cxx)' \
	CN_HEADER_CUDA='$(header_cuda)' \
	    $(srcdir)/tests/lint/$@
.PHONY: check-layers check-headers check-style check-cycles
