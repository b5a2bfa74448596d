/* What runs in the containers of the benchmark, and outside of them for comparison.
 *
 * usage: workload (true | sleep | now | cpu | getpid | pipe | file | memory)
 *
 * `now` prints the monotonic clock, the last five how long a fixed piece of work took, both in nanoseconds. `file`
 * works in the current directory.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(call) do { if ((call) < 0) err(1, "%s", #call); } while (0)

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void cpu(void) {
    volatile uint64_t sum = 0;
    for (uint64_t i = 0; i < 100000000; i++) sum += i * i;
}

static void getpids(void) {
    for (int i = 0; i < 3000000; i++) syscall(SYS_getppid);
}

static void ping_pong(void) {
    int to[2], from[2];
    char byte = 0;
    CHECK(pipe(to));
    CHECK(pipe(from));
    pid_t child = fork();
    CHECK(child);
    if (child == 0) {
        close(to[1]);
        while (read(to[0], &byte, 1) == 1) CHECK(write(from[1], &byte, 1));
        _exit(0);
    }
    for (int i = 0; i < 50000; i++) {
        CHECK(write(to[1], &byte, 1));
        CHECK(read(from[0], &byte, 1));
    }
    close(to[1]);
    waitpid(child, NULL, 0);
}

static void files(void) {
    static char block[65536];
    char name[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "bench.%d", i);
        int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        CHECK(fd);
        CHECK(write(fd, block, sizeof block));
        CHECK(pread(fd, block, sizeof block, 0));
        close(fd);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "bench.%d", i);
        CHECK(unlink(name));
    }
}

static void memory(void) {
    const size_t size = 64 << 20;
    char *from = malloc(size), *to = malloc(size);
    if (!from || !to) err(1, "malloc");
    memset(from, 1, size);
    for (int i = 0; i < 20; i++) memcpy(to, from, size);
    if (to[size - 1] != 1) errx(1, "memcpy");
}

int main(int argc, char **argv) {
    static const struct { const char *name; void (*run)(void); } works[] = {
        {"cpu", cpu}, {"getpid", getpids}, {"pipe", ping_pong}, {"file", files}, {"memory", memory},
    };
    const char *name = argc > 1 ? argv[1] : "true";
    if (!strcmp(name, "true")) return 0;
    if (!strcmp(name, "sleep")) for (;;) pause();
    if (!strcmp(name, "now")) return printf("%" PRId64 "\n", now()) < 0;
    for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
        if (strcmp(name, works[i].name)) continue;
        int64_t start = now();
        works[i].run();
        return printf("%" PRId64 "\n", now() - start) < 0;
    }
    errx(2, "unknown work: %s", name);
}
