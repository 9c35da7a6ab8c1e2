dnl Compiler settings of the project: warnings, build type, sanitizers, oneDNN.

AC_DEFUN([AX_CN_WARNINGS], [
AC_ARG_ENABLE([werror], [AS_HELP_STRING([--enable-werror], [warnings are errors])],
    [cn_werror=$enableval], [cn_werror=no])
CN_WARN="-Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wconversion -Wno-format-truncation"
dnl What C++ has of them, for the tests of kernels/cuda; loops there are unrolled for nvcc.
CN_WARN_CXX="-Wall -Wextra -Wno-unknown-pragmas"
CN_WARN_NVCC="-Xcompiler -Wall -Xptxas -warn-spills"
AS_IF([test "x$cn_werror" = xyes], [
    CN_WARN="$CN_WARN -Werror"
    CN_WARN_NVCC="$CN_WARN_NVCC -Werror all-warnings"
    CN_WARN_CXX="$CN_WARN_CXX -Werror"])
AC_SUBST([CN_WARN])
AC_SUBST([CN_WARN_CXX])
AC_SUBST([CN_WARN_NVCC])
])

AC_DEFUN([AX_CN_BUILD_TYPE], [
AC_ARG_ENABLE([build-type],
    [AS_HELP_STRING([--enable-build-type=TYPE],
                    [release (default), which is hardened; debug; plain, which is not])],
    [cn_build_type=$enableval], [cn_build_type=release])
AS_CASE([$cn_build_type],
    [debug], [CN_OPT="-O1 -g -DCN_DEBUG=1"],
    [plain], [CN_OPT="-O2 -g"],
    [release], [CN_OPT="-O2 -g -fstack-protector-strong -fPIE"
                CN_LINK="-pie -Wl,-z,relro,-z,now"
                dnl A sanitizer has checks of its own in place of these.
                AS_IF([test "x${enable_sanitizer:-no}" = xno],
                      [CN_OPT="$CN_OPT -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2"])],
    [AC_MSG_ERROR([unknown build type "$cn_build_type"])])
dnl Our own CFLAGS come first so that the user's CFLAGS win; autoconf's default -O2 stays harmless.
AC_SUBST([CN_OPT])
AC_SUBST([CN_LINK])
])

AC_DEFUN([AX_CN_SANITIZER], [
AC_ARG_ENABLE([sanitizer],
    [AS_HELP_STRING([--enable-sanitizer=LIST], [compile with -fsanitize=LIST, for instance address,undefined])],
    [cn_sanitizer=$enableval], [cn_sanitizer=no])
AS_IF([test "x$cn_sanitizer" != xno], [
    CN_SAN="-fsanitize=$cn_sanitizer -fno-omit-frame-pointer -fno-sanitize-recover=all"
    cn_quick=1])
AC_SUBST([CN_SAN])
AC_SUBST([cn_quick])
])

AC_DEFUN([AX_CN_ONEDNN], [
AC_ARG_WITH([onednn], [AS_HELP_STRING([--without-onednn], [build only the plain C interpreter])],
    [cn_onednn=$withval], [cn_onednn=yes])
AS_IF([test "x$cn_onednn" = xyes], [
    AC_CHECK_HEADER([oneapi/dnnl/dnnl.h], [],
        [AC_MSG_ERROR([oneDNN is missing (Debian: libdnnl-dev); or say --without-onednn])])
    DNNL_LIBS=-ldnnl
    AC_DEFINE([HAVE_ONEDNN], [1], [oneDNN is there])])
AC_SUBST([DNNL_LIBS])
AM_CONDITIONAL([HAVE_ONEDNN], [test "x$cn_onednn" = xyes])
])
