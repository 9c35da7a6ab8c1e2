#!/bin/sh
# openapi.yaml is a valid document of OpenAPI 3.1, by openapi-spec-validator. Debian 12 does not have
# it: "tools/install contract" puts it into .venv.
set -eu
src=${srcdir:-.}
# Inside braces a comma ends the text, and the rest of a sentence becomes a key.
if grep -nE "\\{([^{}]*[ ,])?(description|summary): [^'\"{}][^{}']*, [^:{}]*\\}" "$src/openapi.yaml"; then
    echo "these need quotes"
    exit 1
fi
for validator in "$src/.venv/bin/openapi-spec-validator" openapi-spec-validator; do
    command -v "$validator" >/dev/null || continue
    exec "$validator" "$src/openapi.yaml"
done
echo "openapi-spec-validator is not here (tools/install contract)"
exit 77
