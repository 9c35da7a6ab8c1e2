noinst_LIBRARIES += libcnstore.a
libcnstore_a_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS) $(SQLITE_CFLAGS)
libcnstore_a_SOURCES = \
    %reldir%/store.h %reldir%/store_priv.h %reldir%/store.c %reldir%/engine.c %reldir%/op.c \
    %reldir%/spec.c %reldir%/sqlite_priv.h %reldir%/sqlite.c %reldir%/batch.c %reldir%/db.c \
    %reldir%/check.h %reldir%/check.c %reldir%/files.c %reldir%/ops.c %reldir%/probe.c %reldir%/reader.c %reldir%/sweep.c
