# The launchers of kernels/cnk.h. nvcc compiles them where configure was told --with-cuda; the tests
# compile the same files with the C++ compiler and run them on the processor (tests/kernels/emu).
cnk_cuda_headers = kernels/cnk.h kernels/cnk_types.h %reldir%/cuda_priv.cuh
cnk_cuda_sources = \
    %reldir%/attention.cu \
    %reldir%/elementwise.cu \
    %reldir%/timestep.cu \
    %reldir%/group_norm.cu \
    %reldir%/layout.cu \
    %reldir%/norm.cu \
    %reldir%/resample.cu \
    %reldir%/strided.cu \
    %reldir%/window.cu
EXTRA_DIST += $(cnk_cuda_headers) $(cnk_cuda_sources)

if CN_CUDA
SUFFIXES += .cu
cn_nvcc_v = $(cn_nvcc_v_@AM_V@)
cn_nvcc_v_ = $(cn_nvcc_v_@AM_DEFAULT_V@)
cn_nvcc_v_0 = @echo "  NVCC    " $@;
.cu.o:
	$(cn_nvcc_v)$(MKDIR_P) $(@D) && $(NVCC) $(NVCC_FLAGS) $(NVCC_GENCODE) \
	    $(CN_WARN_NVCC) -I$(top_srcdir) -c -o $@ $<

noinst_LIBRARIES += libcnkcuda.a
libcnkcuda_a_SOURCES = $(cnk_cuda_sources)
$(libcnkcuda_a_OBJECTS): $(cnk_cuda_headers)
endif
