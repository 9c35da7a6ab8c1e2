noinst_LIBRARIES += libcnjob.a
libcnjob_a_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS)
libcnjob_a_SOURCES = \
    %reldir%/catalog.h %reldir%/catalog.c \
    %reldir%/dispatch.h %reldir%/dispatch_priv.h %reldir%/dispatch.c %reldir%/dispatch_metrics.c \
    %reldir%/job.h %reldir%/job.c \
    %reldir%/jobs.h \
    %reldir%/process.h %reldir%/process.c \
    %reldir%/queue.h %reldir%/queue.c
