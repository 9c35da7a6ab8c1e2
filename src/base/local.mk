noinst_LIBRARIES += libcnbase.a
libcnbase_a_SOURCES = \
    %reldir%/base.h %reldir%/base.c \
    %reldir%/base64.h %reldir%/base64.c \
    %reldir%/buf.h %reldir%/buf.c \
    %reldir%/clock.h %reldir%/clock.c \
    %reldir%/dtype.h %reldir%/dtype.c \
    %reldir%/escape.h %reldir%/escape.c \
    %reldir%/file.h %reldir%/file.c \
    %reldir%/tiff.h %reldir%/tiff.c \
    %reldir%/picture_head.h %reldir%/picture_head.c \
    %reldir%/places.h %reldir%/places.c \
    %reldir%/program.h %reldir%/program.c \
    %reldir%/infotext.h %reldir%/infotext.c \
    %reldir%/log.h %reldir%/log.c \
    %reldir%/log_out.h %reldir%/log_out.c \
    %reldir%/json.h %reldir%/json.c \
    %reldir%/mem.h %reldir%/mem.c \
    %reldir%/metrics.h %reldir%/metrics.c \
    %reldir%/random.h %reldir%/random.c \
    %reldir%/reexec.h %reldir%/reexec.c \
    %reldir%/sha256.h %reldir%/sha256.c %reldir%/hmac.h %reldir%/hmac.c \
    %reldir%/simd.h \
    %reldir%/image_meta.h %reldir%/spec.h %reldir%/spec.c %reldir%/spec_hires.c %reldir%/spec_sizes.c \
    %reldir%/spec_adapters.c %reldir%/spec_digest.h %reldir%/spec_digest.c \
    %reldir%/strmap.h %reldir%/strmap.c %reldir%/table.h %reldir%/table.c \
    %reldir%/text.h %reldir%/text.c \
    %reldir%/utf8.h %reldir%/utf8.c \
    %reldir%/warnings.h %reldir%/warnings.c %reldir%/spec_warn.c
