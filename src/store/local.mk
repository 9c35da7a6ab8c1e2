noinst_LIBRARIES += libcnstore.a
libcnstore_a_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS) $(SQLITE_CFLAGS)
libcnstore_a_SOURCES = \
    %reldir%/store.h %reldir%/store.c
