/* The floor under every runtime: what the kernel must be asked for to run one program with the namespaces, mounts,
 * devices, masks and cgroup of the recorded Podman bundle, hard-coded, without reading a configuration, keeping state,
 * checking anything or protecting itself. A runtime can come close to it and can't be faster.
 *
 * usage: floor ROOTFS FILES (v1|v2) CGROUP[,CGROUP...] PROGRAM [ARG...]
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(call) do { if ((call) < 0) err(1, "%s", #call); } while (0)

static const struct { const char *name; int minor; } devices[] = {
    {"dev/null", 3}, {"dev/zero", 5}, {"dev/full", 7}, {"dev/random", 8}, {"dev/urandom", 9},
};
static const char *links[][2] = {
    {"/proc/self/fd", "dev/fd"}, {"/proc/self/fd/0", "dev/stdin"}, {"/proc/self/fd/1", "dev/stdout"},
    {"/proc/self/fd/2", "dev/stderr"}, {"pts/ptmx", "dev/ptmx"},
};
static const char *masked[] = {
    "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
    "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/fs/selinux", "/sys/dev/block",
};
static const char *readonly[] = {
    "/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) err(1, "%s", path);
    close(fd);
}

/* A cpuset of version 1 starts empty, and takes no process until it has what its parent has. */
static void inherit(const char *cgroup, const char *name) {
    char path[4096], text[256] = "";
    snprintf(path, sizeof path, "%s/../%s", cgroup, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    CHECK(read(fd, text, sizeof text - 1));
    close(fd);
    snprintf(path, sizeof path, "%s/%s", cgroup, name);
    put(path, text);
}

static void bind_mount(const char *files, const char *name, const char *target, unsigned long flags) {
    char source[4096];
    snprintf(source, sizeof source, "%s/%s", files, name);
    CHECK(mount(source, target, NULL, MS_BIND | MS_REC, NULL));
    if (flags) CHECK(mount(NULL, target, NULL, MS_BIND | MS_REMOUNT | flags, NULL));
}

static void make_root(const char *rootfs, const char *files, const char *cgroup) {
    const unsigned long no = MS_NOSUID | MS_NOEXEC | MS_NODEV;
    CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    CHECK(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL));
    CHECK(chdir(rootfs));
    CHECK(mount("proc", "proc", "proc", no, NULL));
    CHECK(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_STRICTATIME, "mode=755,size=65536k"));
    CHECK(mount("sysfs", "sys", "sysfs", no | MS_RDONLY, NULL));
    CHECK(mkdir("dev/pts", 0755));
    CHECK(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
    CHECK(mkdir("dev/mqueue", 0755));
    CHECK(mount("mqueue", "dev/mqueue", "mqueue", no, NULL));
    CHECK(mkdir("dev/shm", 0755));
    bind_mount(files, "hosts", "etc/hosts", 0);
    bind_mount(files, "shm", "dev/shm", no);
    bind_mount(files, "containerenv", "run/.containerenv", 0);
    bind_mount(files, "hostname", "etc/hostname", 0);
    CHECK(mount(cgroup, "sys/fs/cgroup", NULL, MS_BIND, NULL));
    CHECK(mount(NULL, "sys/fs/cgroup", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | no, NULL));

    umask(0);
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        CHECK(mknod(devices[i].name, S_IFCHR | 0666, makedev(1, devices[i].minor)));
    CHECK(mknod("dev/tty", S_IFCHR | 0666, makedev(5, 0)));
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) CHECK(symlink(links[i][0], links[i][1]));
    umask(022);

    CHECK(syscall(SYS_pivot_root, ".", "."));
    CHECK(umount2(".", MNT_DETACH));
    CHECK(chdir("/"));
    for (size_t i = 0; i < sizeof masked / sizeof *masked; i++) {
        struct stat meta;
        if (stat(masked[i], &meta) < 0) continue;
        if (S_ISDIR(meta.st_mode)) CHECK(mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, NULL));
        else CHECK(mount("/dev/null", masked[i], NULL, MS_BIND, NULL));
    }
    for (size_t i = 0; i < sizeof readonly / sizeof *readonly; i++) {
        if (mount(readonly[i], readonly[i], NULL, MS_BIND | MS_REC, NULL) < 0) continue;
        CHECK(mount(NULL, readonly[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | no, NULL));
    }
}

static void loopback_up(void) {
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(fd);
    CHECK(ioctl(fd, SIOCSIFFLAGS, &request));
    close(fd);
}

int main(int argc, char **argv) {
    if (argc < 6) errx(2, "usage: floor ROOTFS FILES (v1|v2) CGROUP[,CGROUP...] PROGRAM [ARG...]");
    const char *rootfs = argv[1], *files = argv[2];
    int v2 = !strcmp(argv[3], "v2"), count = 0, go[2];
    char *cgroups[32], path[4096];
    for (char *dir = strtok(argv[4], ","); dir && count < 32; dir = strtok(NULL, ",")) {
        CHECK(mkdir(dir, 0755));
        cgroups[count++] = dir;
        inherit(dir, "cpuset.cpus");
        inherit(dir, "cpuset.mems");
        snprintf(path, sizeof path, "%s/pids.max", dir);
        if (!access(path, W_OK)) put(path, "2048");
    }

    struct clone_args args = {
        .flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS,
        .exit_signal = SIGCHLD,
    };
    if (v2) {
        args.flags |= CLONE_INTO_CGROUP;
        int fd = open(cgroups[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CHECK(fd);
        args.cgroup = fd;
    }
    CHECK(pipe2(go, O_CLOEXEC));
    pid_t child = syscall(SYS_clone3, &args, sizeof args);
    CHECK(child);
    if (child == 0) {
        close(go[1]);
        if (read(go[0], path, 1) != 1) return 1;
        /* A process that moves itself by tasks waits for nothing; moving it by cgroup.procs takes an RCU grace period. */
        for (int i = 0; i < count && !v2; i++) {
            snprintf(path, sizeof path, "%s/tasks", cgroups[i]);
            put(path, "0");
        }
        make_root(rootfs, files, cgroups[0]);
        loopback_up();
        CHECK(sethostname("floor", 5));
        execv(argv[5], argv + 5);
        err(127, "%s", argv[5]);
    }
    CHECK(write(go[1], "", 1));
    int status;
    CHECK(waitpid(child, &status, 0));
    for (int i = 0; i < count; i++) CHECK(rmdir(cgroups[i]));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
