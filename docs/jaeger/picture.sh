#!/bin/sh
# Makes docs/jaeger.png and, for the built documentation, runtime/docs/jaeger.md: a
# screenshot by Chromium of the trace of the example fibonacci in Jaeger's UI. The ports 11211 and 16686 must be free.
#
# Needs memcached, protoc (Debian: protobuf-compiler), chromium, pngquant and curl.
set -eu
cd "$(dirname "$0")/../.."

folder=$(mktemp -d)
trap 'kill $started 2>/dev/null; rm -rf "$folder"' EXIT
started=

cargo build --example fibonacci
CARGO_TARGET_DIR=target/jaeger cargo build --manifest-path docs/jaeger/Cargo.toml

memcached -l 127.0.0.1 -p 11211 -U 0 -u root &
started="$started $!"
target/jaeger/debug/jaeger &
started="$started $!"
curl -sf --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:16686/api/services >/dev/null

# The first run warms up caches, so that the second shows typical times.
for run in 1 2; do
    RUST_LOG=off,memocached=info,fibonacci=info \
        MEMCACHED_SERVERS=127.0.0.1:11211 \
        OTEL_SERVICE_NAME=fibonacci \
        OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:16686 \
        target/debug/examples/fibonacci
done

traces=$(curl -sf 'http://127.0.0.1:16686/api/traces?service=fibonacci&limit=1')
trace=$(echo "$traces" | grep -o '"traceID":"[0-9a-f]*"' | head -n 1 | cut -d '"' -f 4)
# Chromium's sandbox does not work for root; the page is our own.
chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$folder" \
    --window-size=1280,942 --virtual-time-budget=15000 --screenshot="$PWD/docs/jaeger.png" \
    "http://127.0.0.1:16686/picture/$trace"
pngquant --speed 1 --nofs --force --output docs/jaeger.png 24 docs/jaeger.png
printf '[jaeger]: data:image/png;base64,%s\n' "$(base64 -w0 docs/jaeger.png)" >runtime/docs/jaeger.md
