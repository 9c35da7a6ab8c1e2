# The CUDA backend on a stand-in of CUDA, cuBLASLt and cuDNN, for machines without a device. Needs
# NVIDIA's headers and a C++ compiler; configure says when they are missing.
EXTRA_DIST += %reldir%/standin.h %reldir%/standin_priv.h %reldir%/test_worker.py
if CN_CUDA_STANDIN
check_LIBRARIES += libcnstandin.a
endif
libcnstandin_a_CPPFLAGS = $(AM_CPPFLAGS) $(CUDA_CFLAGS) -DCN_STANDIN_KERNELS
libcnstandin_a_CFLAGS = $(AM_CFLAGS)
libcnstandin_a_SOURCES = \
    %reldir%/standin.h %reldir%/standin_priv.h \
    %reldir%/blas.c \
    %reldir%/copy.c \
    %reldir%/dnn.c \
    %reldir%/memory.c \
    %reldir%/runtime.c
# In place of CNCUDA_LIBS.
standin_libs = libcnbackend.a libcnlistcuda.a libcncuda.a libcnstandin.a $(cnkemu_libs) \
    $(CNCPU_LIBS) $(OPENMP_CFLAGS)

standin_op_table = tests/backend/op_run.h tests/backend/op_run.c tests/backend/op_cases.h \
    tests/backend/op_cases.c tests/backend/op_builders.c
standin_test_cppflags = $(AM_CPPFLAGS) -DOP_BACKEND='"cuda"'
standin_test_libs = $(standin_libs) $(CMOCKA_LIBS)
standin_engine_libs = $(CNENGINE_ABOVE) $(standin_libs) $(CNENGINE_BELOW)

if CN_CUDA_STANDIN
check_PROGRAMS += tests/standin/test_modules tests/standin/test_images \
    tests/standin/controlnet-worker-cuda tests/standin/controlnet-decoder
tests_standin_controlnet_decoder_SOURCES = src/decoding/main.c
tests_standin_controlnet_decoder_LDADD = $(CNDECODER_LIBS)
tests_standin_test_modules_SOURCES = tests/engine/test_modules.c
tests_standin_test_modules_CPPFLAGS = $(standin_test_cppflags)
tests_standin_test_modules_LDADD = $(standin_engine_libs)
tests_standin_test_images_SOURCES = tests/engine/test_images.c
tests_standin_test_images_CPPFLAGS = $(standin_test_cppflags)
tests_standin_test_images_LDADD = $(standin_engine_libs)
tests_standin_controlnet_worker_cuda_SOURCES = $(CNWORKER_SOURCES)
tests_standin_controlnet_worker_cuda_LDADD = libcnworkerloop.a libcnwire.a libcndecoding.a $(standin_engine_libs)

standin_tests = tests/standin/test_ops tests/standin/test_plans tests/standin/test_weights \
    tests/standin/test_side tests/standin/test_views tests/standin/test_cuda tests/standin/test_devices \
    tests/standin/test_types tests/standin/test_bounds
check_PROGRAMS += $(standin_tests)
TESTS += $(standin_tests)
tests_standin_test_ops_SOURCES = tests/backend/test_ops.c $(standin_op_table)
tests_standin_test_ops_CPPFLAGS = $(standin_test_cppflags)
tests_standin_test_ops_LDADD = $(standin_test_libs)
tests_standin_test_plans_SOURCES = tests/backend/test_plans.c $(standin_op_table)
tests_standin_test_plans_CPPFLAGS = $(standin_test_cppflags)
tests_standin_test_plans_LDADD = $(standin_test_libs)
tests_standin_test_weights_SOURCES = tests/backend/test_weights.c $(standin_op_table)
tests_standin_test_weights_CPPFLAGS = $(standin_test_cppflags)
tests_standin_test_weights_LDADD = $(standin_test_libs)
tests_standin_test_side_SOURCES = tests/backend/test_side.c $(standin_op_table)
tests_standin_test_side_CPPFLAGS = $(standin_test_cppflags)
tests_standin_test_side_LDADD = $(standin_test_libs)
tests_standin_test_views_SOURCES = tests/backend/test_views.c $(standin_op_table)
tests_standin_test_views_CPPFLAGS = $(standin_test_cppflags)
tests_standin_test_views_LDADD = $(standin_test_libs)
tests_standin_test_cuda_SOURCES = %reldir%/test_cuda.c $(standin_op_table)
tests_standin_test_cuda_CPPFLAGS = $(standin_test_cppflags)
tests_standin_test_cuda_LDADD = $(standin_test_libs)
tests_standin_test_devices_SOURCES = %reldir%/test_devices.c $(standin_op_table)
tests_standin_test_devices_CPPFLAGS = $(standin_test_cppflags)
tests_standin_test_devices_LDADD = $(standin_test_libs)
tests_standin_test_bounds_SOURCES = %reldir%/test_bounds.c $(standin_op_table)
tests_standin_test_bounds_CPPFLAGS = $(standin_test_cppflags)
tests_standin_test_bounds_LDADD = $(standin_test_libs)
tests_standin_test_types_SOURCES = tests/backend/test_types.c $(standin_op_table)
tests_standin_test_types_CPPFLAGS = $(standin_test_cppflags)
tests_standin_test_types_LDADD = $(standin_test_libs)
endif

# What the real cuDNN says of the same operation graphs, which needs the library but no device.
if CN_CUDA
check_PROGRAMS += tests/standin/engines
TESTS += tests/standin/engines.sh
endif
tests_standin_engines_SOURCES = %reldir%/engines.c $(standin_op_table)
tests_standin_engines_CPPFLAGS = $(standin_test_cppflags) $(CUDA_CFLAGS)
tests_standin_engines_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=cudnnBackendSetAttribute \
    -Wl,--wrap=cudnnBackendFinalize -Wl,--wrap=cudnnCreate -Wl,--wrap=cudnnDestroy
tests_standin_engines_LDADD = libcnbackend.a libcnlistcuda.a libcncuda.a $(CUDNN_LIBS) \
    libcnstandin.a $(cnkemu_libs) $(CNCPU_LIBS) $(OPENMP_CFLAGS) $(CMOCKA_LIBS)
dist_check_SCRIPTS += $(standin_scripts) %reldir%/engines.sh

# Networks and pictures; each script is one thing at one precision.
standin_scripts = tests/standin/modules.sh tests/standin/images.sh tests/standin/worker.sh
if CN_CUDA_STANDIN
TESTS += $(standin_scripts)
endif
