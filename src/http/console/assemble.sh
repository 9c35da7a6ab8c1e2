#!/bin/sh
# assemble.sh DIR: the console as one page: DIR/index.html with the files that it links inside of it,
# scripts that follow each other as one.
set -eu
in_script=
while IFS= read -r line; do
    case $line in
    '<script src="'*) ;;
    *)
        [ -z "$in_script" ] || echo '</script>'
        in_script=
        ;;
    esac
    case $line in
    '<link rel="stylesheet" href="'*)
        file=${line#*href=\"}
        echo '<style>'
        cat "$1/${file%%\"*}"
        echo '</style>'
        ;;
    '<script src="'*)
        file=${line#*src=\"}
        [ -n "$in_script" ] || echo '<script>'
        in_script=1
        cat "$1/${file%%\"*}"
        ;;
    *) printf '%s\n' "$line" ;;
    esac
done <"$1/index.html"
