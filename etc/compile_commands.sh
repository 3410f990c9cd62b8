#!/bin/sh
# Print a compilation database for clang-tidy: compile_commands.sh "FLAGS" FILE...
flags=$1
shift
printf '['
comma=
for file in "$@"; do
    printf '%s\n{"directory": "%s", "file": "%s", "command": "clang -DRECSYSD_VERSION='"'\\\\\"lint\\\\\"'"' %s -c %s"}' "$comma" "$PWD" "$file" \
        "$(printf '%s' "$flags" | sed 's/["\\]/\\&/g')" "$file"
    comma=,
done
printf '\n]\n'
