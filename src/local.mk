include src/base/local.mk
include src/image/local.mk
include src/checkpoint/local.mk
include src/text/local.mk
include src/diffusion/local.mk
include src/tensor/local.mk
include src/model/local.mk
include src/backend/local.mk
include src/backend/cpu/onednn.mk
include src/engine/local.mk
include src/cli/local.mk
include src/wire/local.mk
include src/job/local.mk
include src/api/local.mk
include src/http/local.mk

noinst_LIBRARIES += libcnworkerloop.a
libcnworkerloop_a_SOURCES = %reldir%/worker_loop.h %reldir%/worker_loop.c
