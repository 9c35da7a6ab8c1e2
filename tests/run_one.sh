#!/bin/sh
# The driver of all tests: statuses pass through it, a test that does not end is ended at its deadline,
# and nothing that a test started outlives it, whatever group or session it went into.
set -u
CN_TEST_SLOW=1 # a sanitizer multiplies deadlines
export CN_TEST_SLOW
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
run=$PWD/tests/run-one
failed=0

fail() {
    echo "$*"
    failed=1
}

# expect STATUS COMMAND...: what the driver says goes to $dir/said.
expect() {
    want=$1
    shift
    "$run" -t "$dir/table" "$@" >/dev/null 2>"$dir/said"
    got=$?
    [ "$got" -eq "$want" ] || fail "status $got instead of $want: $*"
}

said() { grep -q "$1" "$dir/said" || fail "nothing said of \"$1\""; }
silent() { ! grep -v '^run-one: took ' "$dir/said" || fail "it should have said nothing"; }

# gone FILE: the process whose number is in FILE has ended.
gone() {
    pid=$(cat "$1") && [ -n "$pid" ] || fail "nothing was started"
    ! kill -0 "$pid" 2>/dev/null || fail "process $pid lives on"
}

printf '%s\n' '# comment' '* 60' 'hangs.sh 1' >"$dir/table"
for status in 0 1 77 99; do
    expect $status sh -c "exit $status"
    silent
    [ "$(tail -n 1 "$dir/said" | grep -cE '^run-one: took [0-9.]+ s, [0-9.]+ s of processors$')" -eq 1 ] ||
        fail "its time is not told: $(cat "$dir/said")"
done
expect 1 sh -c 'kill -SEGV $$'
said 'signal 11'
expect 127 "$dir/nothing"

# Left behind in the group, and in a session of its own.
expect 0 sh -c "sleep 1000 & echo \$! >$dir/one; setsid sh -c 'echo \$\$ >$dir/two; exec sleep 1000' &
    until [ -s $dir/two ]; do sleep 0.01; done"
said 'left [12] processes behind'
gone "$dir/one"
gone "$dir/two"

# Hangs, does not care for SIGTERM, and has children that left its group.
cat >"$dir/hangs.sh" <<EOF
trap '' TERM
setsid sh -c 'echo \$\$ >$dir/three; exec sleep 1000' &
while :; do sleep 1; done
EOF
chmod +x "$dir/hangs.sh"
sed -i '1i #!/bin/sh' "$dir/hangs.sh"
expect 1 "$dir/hangs.sh"
said 'not finished after 1 s'
gone "$dir/three"

# Who is told to end ends the test.
"$run" sh -c "echo \$\$ >$dir/four; exec sleep 1000" 2>/dev/null &
driver=$!
until [ -s "$dir/four" ]; do sleep 0.01; done
kill -TERM $driver
wait $driver
gone "$dir/four"

exit $failed
