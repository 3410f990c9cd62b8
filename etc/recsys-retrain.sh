#!/bin/sh
# Train a model on a running shop, and let it answer if it is not worse than the one that does.
#   recsys-retrain.sh [--config FILE] [TRAINING OPTIONS]
#
# Training options go to recsys-train fit, as "--options /etc/recsysd/train.yaml". Work files go to CACHE_DIRECTORY (systemd sets it), else to a directory
# that is removed at the end. RECSYSCTL_ENDPOINT says where the daemon listens, otherwise its configuration does.
#
# What is activated is the candidate that was measured: trained on the log up to its 80 % time quantile, chosen on the events up to the 90 % quantile,
# judged on those after it. One that is trained on everything would be asked about events it has learnt by heart and beat every other; and one
# that is trained anew on everything after the judgement is a model that nobody has measured. The active model was made
# the same way from a shorter log, so it has not seen the newest events either, and the comparison is fair. What the candidate does not learn
# from is not lost: histories and counts are live, so the newest events are in every list from either of them.
set -eu
umask 0077

config=/etc/recsysd/recsysd.yaml
name=${RECSYS_RETRAIN_NAME:-retrained}
if [ "${1:-}" = --config ]; then
    config=${2:?"--config needs a file"}
    shift 2
fi

# the first endpoint of the effective configuration
if [ -z "${RECSYSCTL_ENDPOINT:-}" ]; then
    RECSYSCTL_ENDPOINT=$(recsysd --config "$config" --print-config | sed -n 's/^    - "\(.*\)"$/\1/p' | head -n 1)
    export RECSYSCTL_ENDPOINT
fi

if [ -n "${CACHE_DIRECTORY:-}" ]; then
    work=$CACHE_DIRECTORY
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi
candidate=$work/candidate.safetensors
active=$work/active.safetensors

# Both are judged on the same log: where it ends now. Events go on arriving meanwhile, and reports about different events are not compared.
at=
if recsys-train evaluate --help | grep -q -e --at-seq; then
    at=$(recsysctl -o json status | sed -n 's/.*"seq": *"\([0-9]*\)".*/\1/p')
fi

evaluate() {
    recsys-train evaluate --config "$config" --model "$1" --holdout time ${at:+--at-seq "$at"} --mask-seen --model-only \
        -q -o json > "$2"
}

recsys-train fit --config "$config" --out "$candidate" --holdout time -q "$@"
recsysctl --quiet model get "$active"
evaluate "$candidate" "$work/candidate.json"
evaluate "$active" "$work/active.json"

# Of what earlier nights left, keep the active model and the one that a rollback goes back to.
recsysctl -o ndjson model list |
    sed -n "s/.*\"name\": *\"$name\", *\"version\": *\"\([^\"]*\)\".*\"state\": *\"stored\".*/\1/p" |
    while read -r old; do
        recsysctl model delete "$old"
    done

# The active model is stored already: this only puts the report beside it.
recsysctl --quiet model put "$active" --report "$work/active.json"
version=$(recsysctl --quiet -o json model put "$candidate" --name "$name" --report "$work/candidate.json" |
    sed -n 's/.*"version": *"\([^"]*\)".*/\1/p')
recsysctl model activate "$version" --if-better
rm -f "$candidate" "$active"
