# Run in a container: all that can be read back of what its configuration asked for, in sections.
# Arguments: paths whose kind and contents are of interest.
section() { echo "=== $1"; }
section status; cat /proc/1/status
section limits; cat /proc/1/limits
section mountinfo; cat /proc/1/mountinfo
section environment; tr '\0' '\n' </proc/1/environ
section cwd; pwd
section umask; umask
section hostname; hostname
section oom; cat /proc/1/oom_score_adj
section terminal; tty; stty size 2>/dev/null
section namespaces; for kind in cgroup ipc mnt net pid time user uts; do echo "$kind $(readlink /proc/1/ns/$kind)"; done
section devices; find /dev \( -type b -o -type c \) -exec stat -c '%n %F %t:%T %a %u:%g' {} +
section links; for link in /dev/fd /dev/stdin /dev/stdout /dev/stderr /dev/ptmx; do echo "$link $(readlink $link)"; done
section sysctl; for name in ip_unprivileged_port_start ping_group_range; do
    echo "net.ipv4.$name $(cat /proc/sys/net/ipv4/$name | tr '\t' ' ')"
done
section paths; for path; do
    if [ -d $path ]; then echo "$path directory $(ls -A $path | wc -l) $(stat -c %a $path)"
    elif [ -e $path ]; then echo "$path file $(head -c 100 $path | wc -c) $(stat -c %a $path)"; fi
done
section cgroup; cd /sys/fs/cgroup && for file in cgroup.procs */cgroup.procs memory/memory.limit_in_bytes; do
    [ ! -e $file ] || echo "$file" $(cat $file)
done
section can; cd /
head -c 1 /dev/zero >/dev/null && echo read-zero
(: >/new) 2>/dev/null && echo write-root
(: >/tmp/new) 2>/dev/null && echo write-tmp
(: >/etc/hosts) 2>/dev/null && echo write-hosts
(echo text >/dev/full) 2>/dev/null || echo full
hostname other 2>/dev/null && echo set-hostname
section end
