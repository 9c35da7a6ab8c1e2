noinst_LIBRARIES += libcntext.a
libcntext_a_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) $(ZLIB_CFLAGS)
libcntext_a_SOURCES = \
    %reldir%/bpe.c %reldir%/text_priv.h \
    %reldir%/tokenizer.h %reldir%/tokenizer.c \
    %reldir%/unicode.c %reldir%/unicode_class.c %reldir%/unicode_norm.c \
    %reldir%/vocab.c
EXTRA_DIST += tools/unicode/make-tables
