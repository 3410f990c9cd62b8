#!/bin/sh
# Run every stress program of a directory; a report of the thread sanitizer is a failure.
set -u
passed=0 failed=0
for program in "$1"/stress_*; do
    case $program in *.o | *.d) continue ;; esac
    if TSAN_OPTIONS="halt_on_error=1:exitcode=66" "$program"; then
        echo "ok   $(basename "$program")"
        passed=$((passed + 1))
    else
        echo "FAIL $(basename "$program")"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
