# core knows connections, requests and answers, and no job; auth says who may ask; routes turn
# requests into calls of job/jobs.h; server owns listeners and life. Each is a layer of its own.
noinst_LIBRARIES += libcnhttpcore.a libcnhttpauth.a libcnhttproutes.a libcnhttpserver.a
http_cppflags = $(AM_CPPFLAGS) $(MHD_CFLAGS) $(LIBUV_CFLAGS)
# In the order of a linker, with all that they need below them.
CNHTTP_LIBS = libcnhttpserver.a libcnhttproutes.a libcnhttpauth.a libcnhttpcore.a

libcnhttpcore_a_CPPFLAGS = $(http_cppflags)
libcnhttpcore_a_SOURCES = \
    %reldir%/core/accept.h %reldir%/core/accept.c \
    %reldir%/core/answer.h %reldir%/core/answer.c \
    %reldir%/core/byte_scan.h %reldir%/core/byte_scan.c \
    %reldir%/core/conn.h %reldir%/core/conn.c \
    %reldir%/core/core.h %reldir%/core/core.c \
    %reldir%/core/exchange.h %reldir%/core/exchange.c \
    %reldir%/core/fields.h %reldir%/core/fields.c \
    %reldir%/core/handler.h \
    %reldir%/core/hangup.h %reldir%/core/hangup.c \
    %reldir%/core/head_check.h %reldir%/core/head_check.c \
    %reldir%/core/mhd_loop.h %reldir%/core/mhd_loop.c \
    %reldir%/core/mhd_recv.h %reldir%/core/mhd_recv.c \
    %reldir%/core/mhd_transport.h %reldir%/core/mhd_transport.c \
    %reldir%/core/multipart.h %reldir%/core/multipart.c \
    %reldir%/core/outflight.h %reldir%/core/outflight.c \
    %reldir%/core/request.h %reldir%/core/request.c \
    %reldir%/core/route.c \
    %reldir%/core/sender.h %reldir%/core/sender.c \
    %reldir%/core/source.h %reldir%/core/source.c \
    %reldir%/core/source_file.c \
    %reldir%/core/tcp_progress.h %reldir%/core/tcp_progress.c

libcnhttpauth_a_CPPFLAGS = $(http_cppflags)
libcnhttpauth_a_SOURCES = \
    %reldir%/auth/access.h %reldir%/auth/access.c \
    %reldir%/auth/guard.h %reldir%/auth/guard.c \
    %reldir%/auth/keys.h %reldir%/auth/keys.c \
    %reldir%/auth/peer.h %reldir%/auth/peer.c \
    %reldir%/auth/site.h %reldir%/auth/site.c \
    %reldir%/auth/throttle.h %reldir%/auth/throttle.c \
    %reldir%/auth/ticket.h %reldir%/auth/ticket.c

libcnhttproutes_a_CPPFLAGS = $(http_cppflags)
libcnhttproutes_a_SOURCES = \
    %reldir%/routes/a1111_priv.h %reldir%/routes/a1111.c %reldir%/routes/a1111_progress.c \
    %reldir%/routes/app.h %reldir%/routes/app.c \
    %reldir%/routes/dialect.c %reldir%/routes/events.c %reldir%/routes/follow.c \
    %reldir%/routes/health.c %reldir%/routes/inputs.c \
    %reldir%/routes/images.c %reldir%/routes/info.c %reldir%/routes/jobs.c \
    %reldir%/routes/models.c %reldir%/routes/openai.c \
    %reldir%/routes/parse_body.h %reldir%/routes/parse_body.c \
    %reldir%/routes/page.c %reldir%/routes/parts.c \
    %reldir%/routes/picture.h %reldir%/routes/picture.c \
    %reldir%/routes/problems.c %reldir%/routes/queue.c %reldir%/routes/results.c %reldir%/routes/routes_priv.h \
    %reldir%/routes/submit_priv.h %reldir%/routes/submit.c \
    %reldir%/routes/submit_head.c %reldir%/routes/table.c
nodist_libcnhttproutes_a_SOURCES = %reldir%/routes/assets.c

libcnhttpserver_a_CPPFLAGS = $(http_cppflags)
libcnhttpserver_a_SOURCES = \
    %reldir%/server/listen.h %reldir%/server/listen.c \
    %reldir%/server/server.h %reldir%/server/server.c

# The console as one page; the files in the order in which index.html names them.
console_files = \
    %reldir%/console/index.html %reldir%/console/style.css \
    %reldir%/console/base.js %reldir%/console/api.js %reldir%/console/board.js \
    %reldir%/console/fields.js %reldir%/console/catalog.js %reldir%/console/controls.js \
    %reldir%/console/request.js %reldir%/console/infotext.js %reldir%/console/stage.js \
    %reldir%/console/gallery.js %reldir%/console/run.js %reldir%/console/code.js \
    %reldir%/console/server.js %reldir%/console/main.js

CLEANFILES += %reldir%/routes/assets.c %reldir%/console/page.html
EXTRA_DIST += %reldir%/routes/embed.sh %reldir%/console/assemble.sh $(console_files)

src/http/console/page.html: $(srcdir)/src/http/console/assemble.sh $(console_files)
	$(AM_V_GEN)$(MKDIR_P) src/http/console && \
	    sh $(srcdir)/src/http/console/assemble.sh $(srcdir)/src/http/console >$@.tmp && mv $@.tmp $@

src/http/routes/assets.c: $(srcdir)/src/http/routes/embed.sh src/http/console/page.html \
    $(srcdir)/openapi.yaml
	$(AM_V_GEN)$(MKDIR_P) src/http/routes && sh $(srcdir)/src/http/routes/embed.sh \
	    openapi $(srcdir)/openapi.yaml page src/http/console/page.html >$@.tmp \
	    && mv $@.tmp $@
