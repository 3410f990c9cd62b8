#!/bin/sh
# Run every fuzz target of a directory for some seconds.
#   tests/fuzz/run.sh DIR SECONDS
set -u
passed=0 failed=0
for program in "$1"/fuzz_*; do
    case $program in *.o | *.d) continue ;; esac
    name=$(basename "$program")
    corpus=build/fuzz/corpus/$name
    mkdir -p "$corpus"
    if "$program" -max_total_time="$2" -rss_limit_mb=1024 -timeout=10 -print_final_stats=0 -verbosity=0 \
        -artifact_prefix="build/fuzz/$name-" "$corpus" > "build/fuzz/$name.log" 2>&1; then
        echo "ok   $name"
        passed=$((passed + 1))
    else
        echo "FAIL $name"
        tail -n 20 "build/fuzz/$name.log"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
