#!/usr/bin/env bash
# Runs the container of bundles/hello, shows that it is one, and takes it through its life.
# usage: [RUNTIME=path] tools/demo.sh        RUNTIME: any runtime with runc's commands
set -euo pipefail
cd "$(dirname "$0")/.."

runtime=${RUNTIME:-target/orlop}
name=$(basename "$runtime")
bundle=bundles/hello
id=demo-$$

if [ "$(id -u)" != 0 ]; then
    echo "$0: this container needs root: sudo $0" >&2
    exit 1
fi

scratch=$(mktemp -d)
clean_up() {
    "$runtime" --root "$scratch/state" delete --force "$id" >/dev/null 2>&1 || true
    rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

heading() { printf '\n\033[1m%s\033[0m\n\n' "$*"; }
[ -t 1 ] || heading() { printf '\n%s\n\n' "$*"; }

# Shows a command and what it prints. The output goes through a file: a pipe would be held open by the
# container, which inherits it.
show() {
    local arg line="\$ $name"
    for arg; do
        case $arg in
        *[!a-zA-Z0-9_./-]*) line+=" '$arg'" ;;
        *) line+=" $arg" ;;
        esac
    done
    echo "$line"
    "$runtime" --root "$scratch/state" "$@" </dev/null >"$scratch/output" 2>&1 || {
        cat "$scratch/output" >&2
        return 1
    }
    sed 's/^/    /' "$scratch/output"
    # The state JSON ends without a newline.
    [ -z "$(tail -c 1 "$scratch/output")" ] || echo
}

status() { "$runtime" --root "$scratch/state" state "$id" | sed -n 's/.*"status": *"\([a-z]*\)".*/\1/p'; }

"$runtime" --version | head -n 1

heading "One script, run on this machine and in a container of $bundle"
"$bundle/rootfs/hello" >"$scratch/host"
"$runtime" --root "$scratch/state" run --bundle "$bundle" "$id" </dev/null >"$scratch/container"

printf '%-20s%-22s%-36s\n' '' 'this machine' 'container'
while IFS= read -r here <&3 && IFS= read -r there <&4 && [ -n "$there" ]; do
    same=
    [ "$here" = "$there" ] && same='(the same)'
    printf '%-20s%-22s%-36s%s\n' "${here:0:20}" "${here:20}" "${there:20}" "$same"
done 3<"$scratch/host" 4<"$scratch/container"
cat <<'END'

User 0 is the user 0 of this machine, but holds only the capabilities that config.json lists. The bundle
asks for no user and no time namespace, so those are shared. A cgroup of / means: the root of its own
cgroup namespace; where that is on this machine is shown below.
END

heading 'Its mounts: a nearly empty root, the /usr of this machine, file systems of its own'
sed '1,/^$/d' "$scratch/container"

heading 'A life in single commands'
mkdir "$scratch/bundle"
sed -e "s|\"rootfs\"|\"$PWD/$bundle/rootfs\"|" -e 's|"/hello"|"/bin/sleep", "60"|' \
    "$bundle/config.json" >"$scratch/bundle/config.json"

show create --bundle "$scratch/bundle" --pid-file "$scratch/pid" "$id"
show state "$id"
pid=$(cat "$scratch/pid")
echo
echo "Everything is set up, and process $pid waits to become the program. Its cgroup, seen from outside:"
sed -n "s/^[^/]*\(.*$id.*\)/    \1/p" "/proc/$pid/cgroup" | sort -u
echo
show start "$id"
show exec "$id" /bin/sh -c 'echo "I am process $$; process 1 is $(cat /proc/1/comm)"'
show kill "$id" KILL
for _ in $(seq 50); do
    [ "$(status)" = stopped ] && break
    sleep 0.1
done
show list
show delete "$id"
echo

left=$(find /sys/fs/cgroup -name "*$id*" 2>/dev/null; ls -A "$scratch/state" 2>/dev/null)
# A process that has ended and that this machine's init has yet to collect has no executable any more.
if readlink "/proc/$pid/exe" >/dev/null; then
    left+=" process $pid"
fi
if [ -n "$left" ]; then
    echo "left behind: $left" >&2
    exit 1
fi
echo 'Nothing is left: no process, no cgroup, no state.'
