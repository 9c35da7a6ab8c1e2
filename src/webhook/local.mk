noinst_LIBRARIES += libcnwebhook.a
libcnwebhook_a_CPPFLAGS = $(AM_CPPFLAGS) $(LIBUV_CFLAGS) $(CURL_CFLAGS)
libcnwebhook_a_SOURCES = \
    %reldir%/address.h %reldir%/address.c \
    %reldir%/rules.h %reldir%/rules.c \
    %reldir%/sender.h %reldir%/sender.c \
    %reldir%/settings.h %reldir%/settings.c
