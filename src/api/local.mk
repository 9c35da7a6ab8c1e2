noinst_LIBRARIES += libcnapi.a
libcnapi_a_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) $(LIBUV_CFLAGS)
libcnapi_a_SOURCES = \
    %reldir%/problem.h %reldir%/problem.c %reldir%/problem_kind.h %reldir%/problem_kind.c \
    %reldir%/reader_priv.h %reldir%/reader.c %reldir%/read_image.c \
    %reldir%/request.h %reldir%/request.c \
    %reldir%/json_priv.h \
    %reldir%/result.h %reldir%/result.c \
    %reldir%/skeleton.h %reldir%/skeleton.c \
    %reldir%/view.c
