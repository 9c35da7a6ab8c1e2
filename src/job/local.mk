noinst_LIBRARIES += libcnjob.a
libcnjob_a_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS)
libcnjob_a_SOURCES = \
    %reldir%/catalog.h %reldir%/catalog.c \
    %reldir%/cost.h %reldir%/cost.c %reldir%/deferred.h %reldir%/deferred.c \
    %reldir%/dispatch.h %reldir%/dispatch_priv.h %reldir%/dispatch.c %reldir%/dispatch_run.c \
    %reldir%/dispatch_frames.c %reldir%/dispatch_catalog.c %reldir%/dispatch_loss.c %reldir%/dispatch_end.c \
    %reldir%/dispatch_models.c %reldir%/dispatch_metrics.c %reldir%/dispatch_view.c %reldir%/dispatch_wait.c \
    %reldir%/job.h %reldir%/job.c \
    %reldir%/jobs.h %reldir%/jobs_priv.h %reldir%/jobs.c %reldir%/jobs_delete.c \
    %reldir%/jobs_end.c %reldir%/jobs_events.c %reldir%/jobs_inputs.c %reldir%/jobs_keep.c \
    %reldir%/jobs_read.c %reldir%/jobs_record.c %reldir%/jobs_recover.c %reldir%/jobs_storage.c \
    %reldir%/jobs_submit.c %reldir%/jobs_webhooks.c \
    %reldir%/process.h %reldir%/process.c \
    %reldir%/queue.h %reldir%/queue.c \
    %reldir%/tenant.h %reldir%/tenant.c \
    %reldir%/treap.h %reldir%/treap.c
