# The common part of *.sh here: runs the Python file of the same name. 77 means skipped.
name=$(basename "$0" .sh)
command -v python3 >/dev/null || exit 77
exec python3 "${srcdir:-.}/tests/e2e/test_$name.py" "$@"
