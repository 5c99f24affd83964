#!/bin/sh
# Installs what the tests need where it is missing, then runs all of them.
set -eu
cd "$(dirname "$0")/.."

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# The packages, by the names of Debian, Fedora, Alpine and Homebrew.
install() {
    if command -v apt-get >/dev/null; then
        as_root apt-get update -q && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy "$@"
    elif command -v dnf >/dev/null; then
        as_root dnf install -qy "$@"
    elif command -v apk >/dev/null; then
        as_root apk add "$@"
    elif command -v brew >/dev/null; then
        brew install "$@"
    else
        echo "please install: $*" >&2
        exit 1
    fi
}

command -v memcached >/dev/null || install memcached
command -v python3 >/dev/null || install python3
# A receiver of OpenTelemetry's protocol, for the tests only.
if ! PYTHONPATH=target/python python3 -c 'import oteltap' 2>/dev/null; then
    python3 -m pip --version >/dev/null 2>&1 || {
        if command -v apk >/dev/null; then install py3-pip; else install python3-pip; fi
    }
    python3 -m pip install --quiet --target target/python oteltap==1.0.0
fi

cargo test --workspace --all-features
