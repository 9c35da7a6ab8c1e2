dnl The CUDA toolkit, cuDNN and cuBLASLt.
dnl
dnl --with-cuda[=DIR]      builds controlnet-worker-cuda; fails when something is missing
dnl --with-cuda-arch=LIST  compute capabilities, for instance 80,89,90 (default); PTX of the last
dnl                        one is added for newer devices
dnl --without-cuda         does not even look for the headers
dnl
dnl Sets CUDA_HOME, NVCC, NVCC_FLAGS, NVCC_GENCODE, CUDA_CFLAGS, CUDA_LIBS, CUDNN_LIBS and the conditionals
dnl CN_CUDA (build it) and CN_CUDA_STANDIN (the headers and a C++ compiler are there, so that the
dnl tests can run the CUDA backend on the stand-in of tests/standin, which needs no device, no
dnl driver and none of NVIDIA's libraries).

AC_DEFUN([AX_CN_CUDA], [
AC_ARG_WITH([cuda],
    [AS_HELP_STRING([--with-cuda@<:@=DIR@:>@], [build the worker for NVIDIA devices; DIR is the CUDA toolkit])],
    [cn_cuda=$withval], [cn_cuda=auto])
AC_ARG_WITH([cuda-arch],
    [AS_HELP_STRING([--with-cuda-arch=LIST], [compute capabilities to compile for (default 80,89,90)])],
    [cn_cuda_arch=$withval], [cn_cuda_arch=80,89,90])
AC_ARG_VAR([CUDA_HOME], [where the CUDA toolkit is])
AC_ARG_VAR([NVCC], [compiler of kernels/cuda])

dnl Only kernels/cuda is C++; without a compiler for it everything else is still built.
AC_REQUIRE([AC_PROG_CXX])
AC_LANG_PUSH([C++])
AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[#include <cmath>]], [[return std::fma(1.0f, 0.0f, 0.0f) > 0;]])],
    [cn_cxx=yes], [cn_cxx=no])
AC_LANG_POP([C++])

AS_CASE([$cn_cuda], [/*], [CUDA_HOME=$cn_cuda cn_cuda=yes])
AS_IF([test "x$CUDA_HOME" = x && test "x$cn_cuda" != xno], [
    AC_PATH_PROG([cn_nvcc_path], [nvcc], [], [$PATH:/usr/local/cuda/bin])
    AS_IF([test "x$cn_nvcc_path" != x],
        [CUDA_HOME=$(dirname "$(dirname "$(readlink -f "$cn_nvcc_path")")")])
    AS_IF([test "x$CUDA_HOME" = x && test -d /usr/local/cuda], [CUDA_HOME=/usr/local/cuda])
    AS_IF([test "x$CUDA_HOME" = x], [CUDA_HOME=/usr])])
AS_IF([test "x$NVCC" = x], [NVCC=$CUDA_HOME/bin/nvcc])
NVCC_FLAGS="-std=c++17 -O3 -Xcompiler -fno-exceptions,-fno-rtti"
CUDA_CFLAGS="-isystem $CUDA_HOME/include"
cn_cuda_lib=$CUDA_HOME/lib64
AS_IF([test ! -d "$cn_cuda_lib"], [cn_cuda_lib=$CUDA_HOME/lib])
CUDNN_LIBS="-L$cn_cuda_lib -Wl,-rpath,$cn_cuda_lib -lcudnn"
CUDA_LIBS="$CUDNN_LIBS -lcublasLt -lcudart_static -ldl -lrt -lpthread -lstdc++"

cn_cuda_headers=no
AS_IF([test "x$cn_cuda" != xno], [
    cn_save_CPPFLAGS=$CPPFLAGS
    CPPFLAGS="$CPPFLAGS $CUDA_CFLAGS"
    AC_MSG_CHECKING([for the headers of CUDA, cuBLASLt and cuDNN 9])
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
        #include <cuda_runtime_api.h>
        #include <cublasLt.h>
        #include <cudnn.h>
        #if CUDNN_VERSION < 91301
        #error too old
        #endif
        ]], [[return CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR == 0;]])], [cn_cuda_headers=yes])
    AC_MSG_RESULT([$cn_cuda_headers])
    CPPFLAGS=$cn_save_CPPFLAGS])

NVCC_GENCODE=
AS_IF([test "x$cn_cuda" = xyes], [
    AS_IF([test $cn_cuda_headers = no],
        [AC_MSG_ERROR([no headers of CUDA, cuBLASLt and cuDNN >= 9.13.1 in $CUDA_HOME/include])])
    AS_IF([test $cn_cxx = no], [AC_MSG_ERROR([kernels/cuda needs a C++ compiler])])
    for cn_arch in $(echo "$cn_cuda_arch" | tr , ' '); do
        NVCC_GENCODE="$NVCC_GENCODE -gencode arch=compute_$cn_arch,code=sm_$cn_arch"
    done
    NVCC_GENCODE="$NVCC_GENCODE -gencode arch=compute_$cn_arch,code=compute_$cn_arch"
    AC_MSG_CHECKING([whether $NVCC compiles for $cn_cuda_arch])
    echo 'extern "C" __global__ void f(float *x) { x@<:@0@:>@ = 1; }' >conftest.cu
    AS_IF([$NVCC $NVCC_FLAGS $NVCC_GENCODE -c -o conftest.o conftest.cu >&AS_MESSAGE_LOG_FD 2>&1],
        [AC_MSG_RESULT([yes])],
        [AC_MSG_RESULT([no])
         AC_MSG_ERROR([nvcc does not work for these architectures: config.log has its message])])
    rm -f conftest.cu conftest.o
    AC_MSG_CHECKING([whether programs link with CUDA, cuBLASLt and cuDNN])
    cn_save_LIBS=$LIBS
    LIBS="$CUDA_LIBS $LIBS"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([[int cudaDeviceSynchronize(void); int cudnnGetVersion(void);
        int cublasLtGetVersion(void);]],
        [[return cudaDeviceSynchronize() + cudnnGetVersion() + cublasLtGetVersion();]])],
        [AC_MSG_RESULT([yes])],
        [AC_MSG_RESULT([no])
         AC_MSG_ERROR([the libraries in $cn_cuda_lib do not link: config.log has the message])])
    LIBS=$cn_save_LIBS])

cn_cuda_standin=no
AS_IF([test $cn_cuda_headers = yes && test $cn_cxx = yes], [cn_cuda_standin=yes])
cn_cuda_summary=no
AS_IF([test "x$cn_cuda" = xyes], [cn_cuda_summary="$CUDA_HOME, compute capabilities $cn_cuda_arch"])
cn_standin_summary="yes"
AS_IF([test $cn_cuda_standin = no],
    [cn_standin_summary="no (CUDA backend is not tested: headers $cn_cuda_headers, C++ compiler $cn_cxx)"])
AC_SUBST([CUDA_HOME])
AC_SUBST([NVCC])
AC_SUBST([NVCC_FLAGS])
AC_SUBST([NVCC_GENCODE])
AC_SUBST([CUDA_CFLAGS])
AC_SUBST([CUDA_LIBS])
AC_SUBST([CUDNN_LIBS])
AM_CONDITIONAL([CN_CXX], [test $cn_cxx = yes])
AM_CONDITIONAL([CN_CUDA], [test "x$cn_cuda" = xyes])
AM_CONDITIONAL([CN_CUDA_STANDIN], [test $cn_cuda_standin = yes])
])
