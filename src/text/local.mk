noinst_LIBRARIES += libcntext.a
libcntext_a_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) $(ZLIB_CFLAGS)
libcntext_a_SOURCES = \
    %reldir%/bpe.c %reldir%/text_priv.h \
    %reldir%/prompt.h %reldir%/prompt_priv.h %reldir%/prompt_chars.c %reldir%/prompt_chunks.c \
    %reldir%/prompt_emphasis.c %reldir%/prompt_parts.c %reldir%/prompt_schedule.c %reldir%/prompt_tags.c \
    %reldir%/tokenizer.h %reldir%/tokenizer.c \
    %reldir%/triggers.h %reldir%/triggers.c \
    %reldir%/unicode.c %reldir%/unicode_class.c %reldir%/unicode_norm.c %reldir%/unicode_newer.c \
    %reldir%/rules.c %reldir%/rules_file.c \
    %reldir%/vocab.c \
    %reldir%/words.c
EXTRA_DIST += tools/unicode/make-tables tools/unicode/make-tokenizers-tables
