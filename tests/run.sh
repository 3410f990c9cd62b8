#!/bin/sh
# Run the unit tests of a build directory and the integration tests; end with one line "N passed, N failed".
#   tests/run.sh [--unit|--integration] BUILD_DIR
set -u

part=all
case ${1:-} in --unit | --integration) part=${1#--}; shift ;; esac
out=$1
passed=0 failed=0
log=$out/test.log
mkdir -p "$out"
: > "$log"
rm -f "$out"/sanitizer.log*

asan_options=allocator_may_return_null=1:detect_stack_use_after_return=0
if [ ! -e /proc/self/task ]; then
    echo "tests: /proc is not mounted: Criterion finds no tests without it, and the sanitizer no leaks (mount -t proc proc /proc)" >&2
    exit 69
fi

# Criterion counts a crash as a failure and says so on its last line; a program without that line has failed as a whole.
run_unit() {
    name=$(basename "$1")
    ASAN_OPTIONS="log_path=$PWD/$out/sanitizer.log:$asan_options" \
    UBSAN_OPTIONS="log_path=$PWD/$out/sanitizer.log:print_stacktrace=1" \
        "$1" -j2 > "$out/$name.out" 2>&1
    line=$(grep -a 'Synthesis' "$out/$name.out" | tail -n 1)
    ok=$(printf '%s' "$line" | sed -n 's/.*Passing: [^0-9]*\([0-9]*\).*/\1/p')
    bad=$(printf '%s' "$line" | sed -n 's/.*Failing: [^0-9]*\([0-9]*\).*/\1/p')
    cat "$out/$name.out" >> "$log"
    if [ -z "$ok" ] || [ -z "$bad" ] || [ $((ok + bad)) -eq 0 ]; then
        echo "FAIL $name: no result"
        tail -n 5 "$out/$name.out"
        failed=$((failed + 1))
        return
    fi
    passed=$((passed + ok))
    failed=$((failed + bad))
    if [ "$bad" = 0 ]; then
        printf 'ok   %-28s %s passed\n' "$name" "$ok"
    else
        printf 'FAIL %-28s %s passed, %s failed\n' "$name" "$ok" "$bad"
        grep -a -E '^\[(----|FAIL|ERR)' "$out/$name.out" | head -n 20
    fi
}

if [ "$part" != integration ]; then
    for source in tests/unit/test_*.c; do
        run_unit "$out/tests/unit/$(basename "$source" .c)"
    done
    # a leak does not fail a Criterion test: the sanitizers' own log decides
    for report in "$out"/sanitizer.log*; do
        [ -s "$report" ] || continue
        echo "FAIL sanitizer: $report"
        head -n 20 "$report"
        failed=$((failed + 1))
    done
fi

if [ "$part" != unit ]; then
    RECSYSD_BUILD=build/release /usr/bin/python3 tests/integration/run.py > "$out/integration.out" 2>&1
    line=$(tail -n 1 "$out/integration.out")
    ok=$(printf '%s' "$line" | sed -n 's/^\([0-9]*\) passed, [0-9]* failed.*/\1/p')
    bad=$(printf '%s' "$line" | sed -n 's/^[0-9]* passed, \([0-9]*\) failed.*/\1/p')
    if [ -z "$ok" ]; then
        echo "FAIL integration: no result"
        ok=0 bad=1
    fi
    [ "$bad" = 0 ] || grep -E '^(FAIL|ERROR)' "$out/integration.out"
    echo "integration: $ok passed, $bad failed ($out/integration.out)"
    passed=$((passed + ok))
    failed=$((failed + bad))
fi

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
