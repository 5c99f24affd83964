#!/bin/sh
# Runs the tests of the crate's behaviour, with what is said to `cargo test`. Most of them
# compare times: what fails beside hundreds of others is tried once more, alone. What looks
# for wrong values is not: it fails at once. That is whole files, and single tests of others.
#
#     sh tests/behaviour.sh [--workspace] [-- FILTER...]
set -eu
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# The status of a command whose output goes to a log as well.
logged() {
    { "$@" 2>&1 && : >"$log.ok" || rm -f "$log.ok"; } | tee "$log"
    [ -e "$log.ok" ] && rm "$log.ok"
}

logged cargo test --test behaviour "$@" && exit
failed=$(sed -n 's/^    \(behaviour::[a-z0-9_:]*\)$/\1/p' "$log" | sort -u)
files='[a-z_]*_processes|integrity|versions|interleavings|sharing|near_arcs|previous|groups|writers|failover'
tests='idle::what_is_deleted_'
if [ -z "$failed" ] || echo "$failed" | grep -E "::($files)::|::$tests"; then
    exit 1
fi
echo "tried once more, alone:" $failed
arguments=
for argument in "$@"; do
    [ "$argument" = -- ] && break
    arguments="$arguments $argument"
done
# shellcheck disable=SC2086 # Words that need no quotes.
cargo test --test behaviour $arguments -- --exact --test-threads 1 $failed
