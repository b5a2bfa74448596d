#!/usr/bin/env bash
# Gets the runtimes to compare with and prints a line "NAME PATH" for each: Debian's own crun and runc, the newest of
# any Debian suite (unpacked with their libraries, beside the system's), and youki of crates.io with its full features.
# Kept in DIR; what is there is not got again.
# usage: tools/bench/peers.sh DIR
set -euo pipefail
dir=$1
mkdir -p "$dir"
export DEBIAN_FRONTEND=noninteractive

missing=()
for package in crun runc mmdebstrap patchelf pkg-config libseccomp-dev libdbus-1-dev; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ ${#missing[@]} = 0 ] || {
    apt-get update -q
    apt-get install -q -y --no-install-recommends "${missing[@]}"
} >&2

if [ ! -e "$dir/newest/usr/sbin/runc" ]; then
    rm -rf "$dir/newest"
    mirror=http://deb.debian.org/debian
    mmdebstrap --variant=extract --format=directory --include=crun,runc --aptopt='Acquire::Check-Valid-Until "false"' \
        --aptopt='APT::Install-Recommends "false"' --aptopt='APT::Default-Release "*"' \
        unstable "$dir/newest" "deb $mirror unstable main" "deb $mirror experimental main" >&2
    # An own loader and own libraries: a wrapper would be what /proc/self/exe shows, and be copied in place of the runtime.
    lib="$dir/newest/usr/lib/$(uname -m)-linux-gnu"
    for path in "$dir/newest/usr/bin/crun" "$dir/newest/usr/sbin/runc"; do
        patchelf --set-interpreter "$(ls "$lib"/ld-linux-*.so.*)" --set-rpath "$lib" --force-rpath "$path" >&2
    done
fi
if [ ! -e "$dir/bin/youki" ]; then
    cargo install --quiet --root "$dir" --no-default-features --features v1,v2,systemd,seccomp youki >&2
fi

echo "crun $(command -v crun)"
echo "crun-new $dir/newest/usr/bin/crun"
echo "runc $(command -v runc)"
echo "runc-new $dir/newest/usr/sbin/runc"
echo "youki $dir/bin/youki"
