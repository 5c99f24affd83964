#!/bin/sh
# Installs what the tests need where it is missing, then runs all of them.
set -eu
cd "$(dirname "$0")/.."

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install() {
    if command -v apt-get >/dev/null; then
        [ -n "${updated-}" ] || as_root apt-get update -q
        updated=yes
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"
    elif command -v dnf >/dev/null; then
        as_root dnf install -qy "$@"
    elif command -v apk >/dev/null; then
        as_root apk add "$@"
    elif command -v brew >/dev/null; then
        brew install "$@"
    else
        echo "please install: $*" >&2
        return 1
    fi
}

# A package by its names in Debian, Fedora, Alpine and Homebrew.
named() {
    if command -v apt-get >/dev/null; then echo "$1"
    elif command -v dnf >/dev/null; then echo "$2"
    elif command -v apk >/dev/null; then echo "$3"
    else echo "$4"; fi
}

# Not every system has a package of these: a test that misses one says so and
# passes, but fails where the variable CI is set.
install_if_possible() {
    install "$1" || echo "not installed: $1" >&2
}

command -v memcached >/dev/null || install memcached
command -v python3 >/dev/null || install python3
command -v nutcracker >/dev/null || [ -x /usr/sbin/nutcracker ] ||
    install_if_possible "$(named nutcracker nutcracker nutcracker twemproxy)"
command -v memccp >/dev/null && command -v memccat >/dev/null ||
    install_if_possible "$(named libmemcached-tools libmemcached-awesome-tools libmemcached libmemcached)"
command -v promtool >/dev/null && command -v prometheus >/dev/null ||
    install_if_possible "$(named prometheus golang-github-prometheus prometheus prometheus)"
command -v unshare >/dev/null && command -v ip >/dev/null ||
    install_if_possible "$(named iproute2 iproute iproute2 iproute2mac)"
command -v strace >/dev/null || install_if_possible strace
command -v faketime >/dev/null || install_if_possible "$(named faketime libfaketime libfaketime libfaketime)"
# CI counts instructions.
[ -z "${CI-}" ] || command -v valgrind >/dev/null || install_if_possible valgrind
php -r 'new Memcached();' 2>/dev/null || {
    install_if_possible "$(named php-cli php-cli php83 php)"
    install_if_possible "$(named php-memcached php-pecl-memcached php83-pecl-memcached php-memcached)"
}

# A receiver of OpenTelemetry's protocol, and clients of memcached's in another
# language.
if ! PYTHONPATH=target/python python3 -c 'import django, oteltap, pymemcache' 2>/dev/null; then
    python3 -m pip --version >/dev/null 2>&1 || install "$(named python3-pip python3-pip py3-pip python3)"
    python3 -m pip install --quiet --upgrade --target target/python django==5.2.8 oteltap==1.0.0 pymemcache==4.0.0
fi

# Some tests run the examples.
cargo build --workspace --examples
cargo test --workspace --lib --bins --example testing --test ui --test soak
cargo test --workspace --exclude memocached-macros --doc
sh tests/behaviour.sh --workspace
