#!/bin/sh
# Unpacks Debian's newest memcached into a folder, with the libraries it was built
# for, and installs nothing. `FOLDER/memcached` runs it.
#
#     sh tests/newest.sh FOLDER
set -eu
mkdir -p "$1"
folder=$(cd "$1" && pwd)
apt="$folder/apt"
mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$folder/root"

# Where this system gets its own packages from.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m 1 '/debian/$')

with_apt() {
    program=$1
    shift
    "$program" -q -o Dir::Etc::SourceList="$apt/list" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$apt/lists" \
        -o Dir::Cache="$apt" -o Dir::Cache::Archives="$apt/archives" -o APT::Sandbox::User=root "$@"
}

fetch() {
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $1 main" >"$apt/list"
    rm -f "$apt"/archives/*.deb
    with_apt apt-get update &&
        libraries=$(with_apt apt-cache depends memcached | sed -n 's/^ *Depends: \(lib[^ <]*\).*/\1/p' | sort -u) &&
        (cd "$apt/archives" && with_apt apt-get download memcached $libraries zlib1g libzstd1)
}

fetch sid || fetch sid || fetch testing
for package in "$apt"/archives/*.deb; do dpkg -x "$package" "$folder/root"; done

# Its libraries need the loader that they came with.
loader=$(find "$folder/root" -name 'ld-linux-*' | head -n 1)
libraries=$(dirname "$(find "$folder/root" -name 'libevent-2.1.so*' | head -n 1)")
cat >"$folder/memcached" <<RUN
#!/bin/sh
exec "$loader" --library-path "$libraries" "$folder/root/usr/bin/memcached" "\$@"
RUN
chmod +x "$folder/memcached"
"$folder/memcached" --version
