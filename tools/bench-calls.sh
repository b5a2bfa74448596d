#!/usr/bin/env bash
# Prints what bundles/hello costs: system calls of each command, peak memory of `run`, size of the executable,
# for orlop and for crun and runc where they are installed, with their ratio to orlop.
# usage: [RUNTIME=path] tools/bench-calls.sh [other runtime...]
#
# Counts, unlike times, are the same on every run; they differ between cgroup layouts.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
    echo "$0: creating containers needs root: sudo $0" >&2
    exit 1
fi
# crun refuses a hybrid layout, so all of them get one of version 1 there.
if [ -z "${BENCH_VIEW:-}" ] && [ -d /sys/fs/cgroup/unified ]; then
    exec env BENCH_VIEW=v1 unshare --mount sh -ec 'mount -t tmpfs none /sys/fs/cgroup/unified; exec "$@"' - "$0" "$@"
fi

runtime=$(realpath "${RUNTIME:-target/orlop}")
others=("$@")
[ $# -gt 0 ] || for name in crun runc; do
    if found=$(command -v "$name"); then others+=("$found"); fi
done

scratch=$(mktemp -d)
current=
trap '[ -z "$current" ] || "$current" --root "$scratch/state" delete --force bench >/dev/null 2>&1; rm -rf "$scratch"' EXIT
mkdir "$scratch/bundle"
hook='{"path": "/bin/sh", "args": ["sh", "-c", "grep VmHWM /proc/$PPID/status >'$scratch'/peak"]}'

# The sample bundle with another program, one that waits to be killed or ends at once, and with these hooks.
set_hooks() {
    local program='"/bin/sleep", "60"'
    [ "$1" = '{}' ] || program='"/bin/true"'
    sed -e "s|\"rootfs\"|\"$PWD/bundles/hello/rootfs\"|" -e "s|\"/hello\"|$program|" \
        -e "s|\"hostname\"|\"hooks\": $(printf %s "$1" | sed 's/[&|\\]/\\&/g'), \"hostname\"|" \
        bundles/hello/config.json >"$scratch/bundle/config.json"
}
set_hooks '{}'

calls() { # LOG: the calls in it, without the second halves of interrupted ones
    grep -c '^[0-9]* *[a-z_0-9]*(' "$1"
}

# count NAME COMMAND...: runs it under strace
count() {
    local name=$1
    shift
    strace -f -o "$scratch/$name.log" "$current" --root "$scratch/state" "$@" </dev/null >"$scratch/out" 2>&1 ||
        { cat "$scratch/out" >&2; exit 1; }
    result[$name]=$(calls "$scratch/$name.log")
}

measure() {
    current=$1
    local runtime=("$current" --root "$scratch/state")
    # strace follows init, too, up to where it waits for start.
    strace -f -o "$scratch/create.log" "${runtime[@]}" create --bundle "$scratch/bundle" \
        --pid-file "$scratch/pid" bench </dev/null >"$scratch/out" 2>&1 &
    for _ in $(seq 200); do
        if grep -q 'exited with 0' "$scratch/create.log" 2>/dev/null && [ -s "$scratch/pid" ]; then break; fi
        sleep 0.05
    done
    kill -KILL "$(cat "$scratch/pid")"
    wait || true
    result[create]=$(calls "$scratch/create.log")
    result[processes]=$(grep -cE '^[0-9]+ *(clone3?|v?fork)\(' "$scratch/create.log" || true)
    "${runtime[@]}" delete --force bench

    "${runtime[@]}" create --bundle "$scratch/bundle" bench </dev/null >/dev/null 2>&1
    count state state bench
    count start start bench
    count kill kill bench KILL
    sleep 0.2
    count delete delete bench
    set_hooks "{\"poststop\": [$hook]}"
    "${runtime[@]}" run --bundle "$scratch/bundle" bench </dev/null >/dev/null
    set_hooks '{}'
    result[memory_kB]=$(awk '{print $2}' "$scratch/peak")
    result[size_kB]=$(($(stat -L -c %s "$current") / 1024))
    current=
    rm -f "$scratch"/{peak,pid,create.log}
}

rows=(create processes state start kill delete memory_kB size_kB)
declare -A table result
for each in "$runtime" ${others[@]+"${others[@]}"}; do
    result=()
    measure "$each"
    for row in "${rows[@]}"; do table[$each,$row]=${result[$row]}; done
done

printf '%-12s' ''
for each in "$runtime" ${others[@]+"${others[@]}"}; do printf '%18s' "$(basename "$each")"; done
echo
for row in "${rows[@]}"; do
    printf '%-12s' "$row"
    base=${table[$runtime,$row]}
    for each in "$runtime" ${others[@]+"${others[@]}"}; do
        value=${table[$each,$row]}
        if [ "$each" = "$runtime" ]; then
            printf '%18s' "$value"
        else
            printf '%10s %7s' "$value" "$(awk -v a="$value" -v b="$base" 'BEGIN { printf "%.1fx", b ? a / b : 0 }')"
        fi
    done
    echo
done
