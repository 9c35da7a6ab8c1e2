noinst_LIBRARIES += libcnstore.a
libcnstore_a_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS) $(SQLITE_CFLAGS)
libcnstore_a_SOURCES = \
    %reldir%/store.h %reldir%/store_priv.h %reldir%/op.c %reldir%/store.c \
    %reldir%/batch.c %reldir%/db.c %reldir%/files.c %reldir%/ops.c %reldir%/read.c %reldir%/spec.c \
    %reldir%/sweep.c %reldir%/thread.c
