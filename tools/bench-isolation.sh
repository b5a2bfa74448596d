#!/usr/bin/env bash
# What limits are worth to a neighbour: the throughput of one container, alone and beside another one that takes all
# it can get of one thing within its limits. Prints Markdown; a minute for each row.
# usage: [RUNTIME=path] tools/bench-isolation.sh
#
# No hog runs without limits: memory and processes would be the host's end.
set -euo pipefail
cd "$(dirname "$0")/.."

[ "$(id -u)" = 0 ] || { echo "$0: creating containers needs root: sudo $0" >&2; exit 1; }
runtime=$(realpath "${RUNTIME:-target/orlop}")
seconds=${SECONDS_EACH:-10}
scratch=$(mktemp -d -p /var/tmp)
clean() {
    for id in neighbour hog; do "$runtime" --root "$scratch/state" delete --force $id >/dev/null 2>&1 || :; done
    rm -rf "$scratch"
}
trap clean EXIT
trap 'exit 130' INT TERM

# The disk below the containers' files, as throttles want it: the whole one, not a partition of it.
device=$(stat -c '%Hd %Ld' "$scratch")
read -r major minor <<<"$device"
if [ -e "/sys/dev/block/$major:$minor/partition" ]; then
    IFS=: read -r major minor <"/sys/dev/block/$major:$minor/../dev"
fi
disk="{\"major\": $major, \"minor\": $minor, \"rate\": 1048576}"
limits="\"cpu\": {\"shares\": 256, \"quota\": 50000, \"period\": 100000},
        \"memory\": {\"limit\": 67108864, \"swap\": 67108864}, \"pids\": {\"limit\": 64},
        \"blockIO\": {\"throttleReadBpsDevice\": [$disk], \"throttleWriteBpsDevice\": [$disk]}"

# bundle ID RESOURCES SCRIPT
bundle() {
    mkdir -p "$scratch/$1/rootfs"/{bin,dev,proc,tmp}
    cp "$(command -v busybox)" "$scratch/$1/rootfs/bin/busybox"
    busybox --list | grep -vx busybox | while read -r name; do ln -sf busybox "$scratch/$1/rootfs/bin/$name"; done
    printf '%s\n' "$3" >"$scratch/$1/rootfs/script"
    cat >"$scratch/$1/config.json" <<END
{
    "ociVersion": "1.0.2",
    "root": {"path": "rootfs"},
    "process": {
        "args": ["/bin/sh", "/script"], "cwd": "/tmp", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 256, "hard": 256}]
    },
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}
    ],
    "linux": {
        "cgroupsPath": "/bench-isolation-$1",
        "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "network"}],
        "resources": {$2}
    }
}
END
}

# One unit of the neighbour's work has something of all: computing, memory, processes, files, the disk.
work="end=\$((\$(date +%s) + $seconds)); units=0
while [ \$(date +%s) -lt \$end ]; do
    dd if=/dev/zero bs=256k count=4 2>/dev/null | sha256sum >/dev/null
    for i in 1 2 3 4 5 6 7 8; do true & done; wait
    dd if=/dev/zero of=file bs=64k count=4 conv=fsync 2>/dev/null
    units=\$((units + 1))
done
echo \$units"

measure() {
    bundle neighbour '' "$work"
    "$runtime" --root "$scratch/state" run --bundle "$scratch/neighbour" neighbour </dev/null
}

# row NAME SCRIPT OF THE HOG
row() {
    local alone beside
    alone=$(measure)
    bundle hog "$limits" "$2"
    "$runtime" --root "$scratch/state" create --bundle "$scratch/hog" hog </dev/null >/dev/null 2>&1
    "$runtime" --root "$scratch/state" start hog
    sleep 1
    beside=$(measure)
    "$runtime" --root "$scratch/state" state hog | grep -q '"running"' || { echo "$1: it has ended" >&2; exit 1; }
    "$runtime" --root "$scratch/state" delete --force hog
    echo "| $1 | $alone | $beside | $((beside * 100 / (alone > 0 ? alone : 1))) % |"
}

cat <<END
# What limits are worth to the neighbour

Units of work that a container without limits gets done in $seconds seconds, alone and beside a hog that may have half
a processor, 64 MiB of memory, 64 processes, 256 open files and 1 MiB/s of the disk. Of one run on
$(nproc) processors, Linux $(uname -r), cgroups of version $([ -e /sys/fs/cgroup/cgroup.controllers ] && echo 2 || echo 1);
made by \`make bench-isolation\`.

| hog | alone | beside it | left |
|---|---:|---:|---:|
END
row 'cpu: eight busy loops' 'for i in 1 2 3 4 5 6 7; do while :; do :; done & done; while :; do :; done'
row 'memory: takes 512 MiB, again and again' 'while :; do dd if=/dev/zero of=/dev/null bs=512M count=1; done'
row 'fork: makes processes until it may not' 'while :; do (while :; do sleep 1000 & done); killall sleep; done'
row 'disk: writes past the page cache' 'while :; do dd if=/dev/zero of=file bs=1M count=64 oflag=direct; done'
row 'files: opens until it may not' 'while :; do tail -f $(yes /script | head -n 300) >/dev/null; done'
