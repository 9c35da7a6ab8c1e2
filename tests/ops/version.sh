#!/bin/sh
# One version everywhere: configure.ac's is the programs', the contract's and the first of NEWS.
top=${srcdir:-.}
version=$(sed -n 's/^AC_INIT(\[controlnetd\], \[\([^]]*\)\].*/\1/p' "$top/configure.ac")
failed=0
same() {
    [ "$2" = "$version" ] && return
    echo "$1 says \"$2\", configure.ac \"$version\""
    failed=1
}
same openapi.yaml "$(sed -n 's/^  version: //p' "$top/openapi.yaml" | head -n 1)"
same NEWS "$(sed -n '1s/^controlnetd \([^ ]*\).*/\1/p' "$top/NEWS")"
same "controlnetd --version" "$(./controlnetd --version | sed -n '1s/^controlnetd \([^ ]*\).*/\1/p')"
for program in controlnet-worker controlnet-decoder; do
    same "$program --version" "$("./$program" --version | sed -n "1s/^$program \([^ ]*\).*/\1/p")"
done
exit "$failed"
