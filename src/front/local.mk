sbin_PROGRAMS += controlnetd
controlnetd_CPPFLAGS = $(AM_CPPFLAGS) -DCN_REVISION='"$(cn_revision)"' $(MHD_CFLAGS) $(LIBUV_CFLAGS)
controlnetd_SOURCES = %reldir%/main.c %reldir%/args.h %reldir%/args.c \
    %reldir%/keys_cli.h %reldir%/keys_cli.c \
    %reldir%/fleet.h %reldir%/fleet.c %reldir%/notify.h %reldir%/notify.c \
    %reldir%/rlimits.h %reldir%/rlimits.c %reldir%/selfstat.h %reldir%/selfstat.c \
    %reldir%/store_cli.h %reldir%/store_cli.c
controlnetd_LDADD = libcnconf.a $(CNHTTP_LIBS) $(CNNOTIFIER_LIBS) libcnapi.a libcninputs.a libcnimage.a libcnjob.a \
    libcnstore.a libcnwire.a libcnbase.a $(MHD_LIBS) $(LIBUV_LIBS) $(SQLITE_LIBS) $(JANSSON_LIBS) $(CURL_LIBS)
