noinst_LIBRARIES += libcnnotifier.a
libcnnotifier_a_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS) $(CURL_CFLAGS)
libcnnotifier_a_SOURCES = %reldir%/notifier.h %reldir%/notifier.c
# With all that it needs below it, in the order of a linker; libcnapi.a stands before.
CNNOTIFIER_LIBS = libcnnotifier.a libcnwebhook.a
