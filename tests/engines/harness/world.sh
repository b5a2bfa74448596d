# Makes a world of its own for an engine and stays until standard input ends: namespaces of all kinds but user,
# and a cgroup root on every hierarchy, of which the cgroup namespace shows nothing but what is below it.
# The folders that engines write to are those of DIR. Then everything ends and is removed.
#
# sh -eu world.sh DIR CGROUP RUNTIME
dir=$1 name=$2 runtime=$3

roots=$(awk '/ - cgroup2? / {print $5}' /proc/self/mountinfo)
for root in $roots; do
    mkdir "$root/$name"
    # A new directory of the v1 cpuset hierarchy has neither, and takes no process without.
    for file in cpuset.cpus cpuset.mems; do
        [ ! -f "$root/$name/$file" ] || cat "$root/$file" >"$root/$name/$file"
    done
done
cd "$dir"
mkdir -p opt run sbin tmp var/lib var/log var/tmp
cp -a /etc etc
cp "$runtime" sbin/orlop

# Runs in the world, as its first process.
begin='
cd "$1"
grep -E " - cgroup2? " /proc/self/mountinfo | while read -r _ _ _ _ point rest; do
    options=$(echo "$rest" | sed "s/.* - //")
    type=${options%% *}
    super=$(echo "${options##* }" | tr , "\n" | grep -vxE "rw|ro|xattr|clone_children|nsdelegate|memory_recursiveprot" | paste -sd ,)
    case $super in name=*) super=none,$super ;; esac
    umount "$point"
    mount -t "$type" ${super:+-o "$super"} cgroup "$point"
done
mount --bind sbin /usr/local/sbin
for folder in opt run tmp var/lib var/log var/tmp etc; do
    mount --bind "$folder" "/$folder"
done
# As systemd leaves it.
mount --make-rshared /
ip link set lo up
echo ready
# tini reaps what the engines leave to it. Frozen processes of v1 outlive even the end of their namespace.
exec tini -s -- sh -c "cat; find /sys/fs/cgroup -name freezer.state -exec sh -c \"echo THAWED >\\\$1\" sh {} \\; 2>/dev/null"
'
(
    for root in $roots; do echo 0 >"$root/$name/cgroup.procs"; done
    exec unshare --mount --pid --net --uts --ipc --cgroup --fork --mount-proc --propagation private \
        sh -euc "$begin" sh "$dir"
) || true

for root in $roots; do
    for try in 1 2 3 4 5 6 7 8 9 10; do
        find "$root/$name" -depth -type d -exec rmdir {} \; 2>/dev/null || true
        [ -d "$root/$name" ] || break
        sleep 0.1
    done
done
rm -rf "$dir"
