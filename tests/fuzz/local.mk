# Targets for libFuzzer, here with the driver of our own: see tests/fuzz/driver.c.
check_PROGRAMS += tests/fuzz/fuzz_image
tests_fuzz_fuzz_image_SOURCES = %reldir%/fuzz_image.c %reldir%/driver.c
tests_fuzz_fuzz_image_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/image"'
tests_fuzz_fuzz_image_LDADD = libcnimage.a libcnbase.a $(SPNG_LIBS) $(JPEG_LIBS) $(WEBP_LIBS)
TESTS += tests/fuzz/fuzz_image

check_PROGRAMS += tests/fuzz/fuzz_safetensors
tests_fuzz_fuzz_safetensors_SOURCES = %reldir%/fuzz_safetensors.c %reldir%/driver.c
tests_fuzz_fuzz_safetensors_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/safetensors"'
tests_fuzz_fuzz_safetensors_LDADD = libcncheckpoint.a libcnbase.a $(JANSSON_LIBS)
TESTS += tests/fuzz/fuzz_safetensors

check_PROGRAMS += tests/fuzz/fuzz_pickle
tests_fuzz_fuzz_pickle_SOURCES = %reldir%/fuzz_pickle.c %reldir%/driver.c
tests_fuzz_fuzz_pickle_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/pickle"'
tests_fuzz_fuzz_pickle_LDADD = libcncheckpoint.a libcnbase.a $(JANSSON_LIBS)
TESTS += tests/fuzz/fuzz_pickle

check_PROGRAMS += tests/fuzz/fuzz_checkpoint
tests_fuzz_fuzz_checkpoint_SOURCES = %reldir%/fuzz_checkpoint.c %reldir%/driver.c
tests_fuzz_fuzz_checkpoint_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/checkpoint"'
tests_fuzz_fuzz_checkpoint_LDADD = libcnruntime.a libcnmodel.a libcntensor.a libcncheckpoint.a \
    libcnbase.a $(JANSSON_LIBS)
TESTS += tests/fuzz/fuzz_checkpoint

check_PROGRAMS += tests/fuzz/fuzz_tokenizer
tests_fuzz_fuzz_tokenizer_SOURCES = %reldir%/fuzz_tokenizer.c %reldir%/driver.c
tests_fuzz_fuzz_tokenizer_CPPFLAGS = $(AM_CPPFLAGS) -DCN_FUZZ_DATA='"$(srcdir)/data"' \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/tokenizer"'
tests_fuzz_fuzz_tokenizer_LDADD = libcntext.a libcnbase.a $(JANSSON_LIBS) $(ZLIB_LIBS)
TESTS += tests/fuzz/fuzz_tokenizer

check_PROGRAMS += tests/fuzz/fuzz_prompt
tests_fuzz_fuzz_prompt_SOURCES = %reldir%/fuzz_prompt.c %reldir%/driver.c
tests_fuzz_fuzz_prompt_CPPFLAGS = $(AM_CPPFLAGS) -DCN_FUZZ_DATA='"$(srcdir)/data"' \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/prompt"'
tests_fuzz_fuzz_prompt_LDADD = libcntext.a libcnbase.a $(JANSSON_LIBS) $(ZLIB_LIBS)
TESTS += tests/fuzz/fuzz_prompt

check_PROGRAMS += tests/fuzz/fuzz_vocab
tests_fuzz_fuzz_vocab_SOURCES = %reldir%/fuzz_vocab.c %reldir%/driver.c
tests_fuzz_fuzz_vocab_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/vocab"'
tests_fuzz_fuzz_vocab_LDADD = libcntext.a libcnbase.a $(JANSSON_LIBS) $(ZLIB_LIBS)
TESTS += tests/fuzz/fuzz_vocab

EXTRA_DIST += tests/data/fuzz/make-corpus tests/data/fuzz/safetensors tests/data/fuzz/pickle \
    tests/data/fuzz/checkpoint \
    tests/data/fuzz/tokenizer tests/data/fuzz/prompt tests/data/fuzz/vocab

check_PROGRAMS += tests/fuzz/fuzz_conf
tests_fuzz_fuzz_conf_SOURCES = %reldir%/fuzz_conf.c %reldir%/driver.c
tests_fuzz_fuzz_conf_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/conf"'
tests_fuzz_fuzz_conf_LDADD = libcnconf.a libcnbase.a
TESTS += tests/fuzz/fuzz_conf

check_PROGRAMS += tests/fuzz/fuzz_auth
tests_fuzz_fuzz_auth_SOURCES = %reldir%/fuzz_auth.c %reldir%/driver.c
tests_fuzz_fuzz_auth_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/auth"'
tests_fuzz_fuzz_auth_LDADD = libcnhttpauth.a libcnbase.a
TESTS += tests/fuzz/fuzz_auth

check_PROGRAMS += tests/fuzz/fuzz_base64
tests_fuzz_fuzz_base64_SOURCES = %reldir%/fuzz_base64.c %reldir%/driver.c
tests_fuzz_fuzz_base64_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/base64"'
tests_fuzz_fuzz_base64_LDADD = libcnbase.a
TESTS += tests/fuzz/fuzz_base64

check_PROGRAMS += tests/fuzz/fuzz_head
tests_fuzz_fuzz_head_SOURCES = %reldir%/fuzz_head.c %reldir%/driver.c
tests_fuzz_fuzz_head_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/head"'
tests_fuzz_fuzz_head_LDADD = libcnhttpcore.a libcnapi.a libcnbase.a
TESTS += tests/fuzz/fuzz_head

check_PROGRAMS += tests/fuzz/fuzz_reply
tests_fuzz_fuzz_reply_SOURCES = %reldir%/fuzz_reply.c %reldir%/driver.c
tests_fuzz_fuzz_reply_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/reply"'
tests_fuzz_fuzz_reply_LDADD = libcndecoding.a libcnimage.a libcnbase.a
TESTS += tests/fuzz/fuzz_reply

check_PROGRAMS += tests/fuzz/fuzz_webhook
tests_fuzz_fuzz_webhook_SOURCES = %reldir%/fuzz_webhook.c %reldir%/driver.c
tests_fuzz_fuzz_webhook_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/webhook"'
tests_fuzz_fuzz_webhook_LDADD = libcnwebhook.a libcnbase.a $(CURL_LIBS)
TESTS += tests/fuzz/fuzz_webhook

EXTRA_DIST += tests/data/fuzz/base64 tests/data/fuzz/head tests/data/fuzz/reply \
    tests/data/fuzz/webhook

# What the daemon itself reads of pictures, and what comes in other servers' dialects.
check_PROGRAMS += tests/fuzz/fuzz_picture_head
tests_fuzz_fuzz_picture_head_SOURCES = %reldir%/fuzz_picture_head.c %reldir%/driver.c
tests_fuzz_fuzz_picture_head_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/picture"'
tests_fuzz_fuzz_picture_head_LDADD = libcnimage.a libcnbase.a $(SPNG_LIBS) $(JPEG_LIBS) $(WEBP_LIBS)
TESTS += tests/fuzz/fuzz_picture_head

check_PROGRAMS += tests/fuzz/fuzz_metadata
tests_fuzz_fuzz_metadata_SOURCES = %reldir%/fuzz_metadata.c %reldir%/driver.c
tests_fuzz_fuzz_metadata_CPPFLAGS = $(AM_CPPFLAGS) \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/picture"'
tests_fuzz_fuzz_metadata_LDADD = libcnimage.a libcnbase.a $(SPNG_LIBS) $(JPEG_LIBS) $(WEBP_LIBS)
TESTS += tests/fuzz/fuzz_metadata

check_PROGRAMS += tests/fuzz/fuzz_dialects
tests_fuzz_fuzz_dialects_SOURCES = %reldir%/fuzz_dialects.c %reldir%/driver.c
tests_fuzz_fuzz_dialects_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) $(LIBUV_CFLAGS) \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/dialects"'
tests_fuzz_fuzz_dialects_LDADD = libcnapi.a libcnjob.a libcnimage.a $(CNSTORE_LIBS) $(JANSSON_LIBS) \
    $(SPNG_LIBS) $(JPEG_LIBS) $(WEBP_LIBS)
TESTS += tests/fuzz/fuzz_dialects

check_PROGRAMS += tests/fuzz/fuzz_infotext
tests_fuzz_fuzz_infotext_SOURCES = %reldir%/fuzz_infotext.c %reldir%/driver.c
tests_fuzz_fuzz_infotext_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) $(LIBUV_CFLAGS) \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/infotext"'
tests_fuzz_fuzz_infotext_LDADD = libcnapi.a libcnjob.a libcnimage.a $(CNSTORE_LIBS) $(JANSSON_LIBS) \
    $(SPNG_LIBS) $(JPEG_LIBS) $(WEBP_LIBS)
TESTS += tests/fuzz/fuzz_infotext

check_PROGRAMS += tests/fuzz/fuzz_adapter
tests_fuzz_fuzz_adapter_SOURCES = %reldir%/fuzz_adapter.c %reldir%/driver.c
tests_fuzz_fuzz_adapter_CPPFLAGS = $(AM_CPPFLAGS) -DCN_FUZZ_DATA='"$(srcdir)/tests/data"' \
    -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/adapter"'
tests_fuzz_fuzz_adapter_LDADD = libcnruntime.a libcnmodel.a libcncheckpoint.a libcntext.a \
    $(CNBACKEND_LIBS) $(JANSSON_LIBS) $(ZLIB_LIBS) $(OPENMP_CFLAGS)
TESTS += tests/fuzz/fuzz_adapter

EXTRA_DIST += tests/data/fuzz/picture tests/data/fuzz/dialects tests/data/fuzz/infotext \
    tests/data/fuzz/adapter
