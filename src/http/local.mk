noinst_LIBRARIES += libcnhttp.a
libcnhttp_a_CPPFLAGS = $(AM_CPPFLAGS) $(MHD_CFLAGS) $(LIBUV_CFLAGS)
libcnhttp_a_SOURCES = \
    %reldir%/accept.h %reldir%/accept.c \
    %reldir%/acked.h %reldir%/acked.c \
    %reldir%/auth.h %reldir%/auth.c \
    %reldir%/conn.c \
    %reldir%/fields.h %reldir%/fields.c \
    %reldir%/gate.h %reldir%/gate.c \
    %reldir%/http_priv.h \
    %reldir%/listen.h %reldir%/listen.c \
    %reldir%/mhd_loop.h %reldir%/mhd_loop.c \
    %reldir%/multipart.h %reldir%/multipart.c \
    %reldir%/reading.c %reldir%/reply.c %reldir%/request.c %reldir%/results.c %reldir%/route.c \
    %reldir%/routes_events.c %reldir%/routes_info.c %reldir%/routes_jobs.c %reldir%/routes_models.c \
    %reldir%/server.h %reldir%/server.c \
    %reldir%/status.h %reldir%/status.c \
    %reldir%/stream.c \
    %reldir%/submit_priv.h %reldir%/submit.c \
    %reldir%/ticket.h %reldir%/ticket.c
nodist_libcnhttp_a_SOURCES = %reldir%/assets.c
CLEANFILES += %reldir%/assets.c
EXTRA_DIST += %reldir%/embed.sh %reldir%/page.html

src/http/assets.c: $(srcdir)/src/http/embed.sh $(srcdir)/src/http/page.html $(srcdir)/openapi.yaml
	$(AM_V_GEN)$(MKDIR_P) src/http && sh $(srcdir)/src/http/embed.sh \
	    openapi $(srcdir)/openapi.yaml page $(srcdir)/src/http/page.html >$@.tmp && mv $@.tmp $@
