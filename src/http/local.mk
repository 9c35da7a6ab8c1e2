noinst_LIBRARIES += libcnhttp.a
libcnhttp_a_CPPFLAGS = $(AM_CPPFLAGS) $(MHD_CFLAGS) $(LIBUV_CFLAGS)
libcnhttp_a_SOURCES = \
    %reldir%/http_priv.h \
    %reldir%/core/accept.h %reldir%/core/accept.c \
    %reldir%/core/answer.c \
    %reldir%/core/conn.c \
    %reldir%/core/fields.h %reldir%/core/fields.c \
    %reldir%/core/head_check.h %reldir%/core/head_check.c \
    %reldir%/core/mhd_loop.h %reldir%/core/mhd_loop.c \
    %reldir%/core/multipart.h %reldir%/core/multipart.c \
    %reldir%/core/request.c \
    %reldir%/core/status.h %reldir%/core/status.c \
    %reldir%/core/stream.c \
    %reldir%/core/tcp_progress.h %reldir%/core/tcp_progress.c \
    %reldir%/auth/keys.h %reldir%/auth/keys.c \
    %reldir%/auth/site.h %reldir%/auth/site.c \
    %reldir%/auth/ticket.h %reldir%/auth/ticket.c \
    %reldir%/routes/events.c %reldir%/routes/info.c %reldir%/routes/jobs.c \
    %reldir%/routes/models.c %reldir%/routes/parse_body.c %reldir%/routes/results.c \
    %reldir%/routes/submit_priv.h %reldir%/routes/submit.c %reldir%/routes/table.c \
    %reldir%/server/listen.h %reldir%/server/listen.c \
    %reldir%/server/server.h %reldir%/server/server.c
nodist_libcnhttp_a_SOURCES = %reldir%/routes/assets.c
CLEANFILES += %reldir%/routes/assets.c
EXTRA_DIST += %reldir%/routes/embed.sh %reldir%/routes/page.html

src/http/routes/assets.c: $(srcdir)/src/http/routes/embed.sh $(srcdir)/src/http/routes/page.html \
    $(srcdir)/openapi.yaml
	$(AM_V_GEN)$(MKDIR_P) src/http/routes && sh $(srcdir)/src/http/routes/embed.sh \
	    openapi $(srcdir)/openapi.yaml page $(srcdir)/src/http/routes/page.html >$@.tmp \
	    && mv $@.tmp $@
