noinst_LIBRARIES += libcnapi.a
libcnapi_a_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) $(LIBUV_CFLAGS)
libcnapi_a_SOURCES = \
    %reldir%/a1111.h %reldir%/a1111_priv.h \
    %reldir%/a1111_controlnet.c %reldir%/a1111_detect.c %reldir%/a1111_pnginfo.c \
    %reldir%/a1111_echo.c %reldir%/a1111_lists.c \
    %reldir%/a1111_names.h %reldir%/a1111_names.c %reldir%/a1111_problem.c \
    %reldir%/a1111_overrides.c %reldir%/a1111_request.c %reldir%/a1111_result.c %reldir%/a1111_settings.c \
    %reldir%/a1111_units.c \
    %reldir%/openai.h %reldir%/openai_request.c %reldir%/openai_result.c \
    %reldir%/problem.h %reldir%/problem.c %reldir%/problem_kind.h %reldir%/problem_kind.c \
    %reldir%/reader_priv.h %reldir%/reader.c %reldir%/read_image.c \
    %reldir%/request.h %reldir%/request.c \
    %reldir%/json_priv.h \
    %reldir%/result.h %reldir%/result.c \
    %reldir%/skeleton.h %reldir%/skeleton.c \
    %reldir%/view.c
