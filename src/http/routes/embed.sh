#!/bin/sh
# embed.sh NAME FILE [NAME FILE]...: C source with the text of each file as the string cn_asset_NAME.
echo '/* Made by embed.sh: do not edit. */'
while [ $# -gt 1 ]; do
    echo "extern const char cn_asset_$1[];"
    echo "const char cn_asset_$1[] ="
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/?/\\?/g' -e 's/^/    "/' -e 's/$/\\n"/' "$2"
    echo '    "";'
    shift 2
done
