#!/bin/sh
# Runs the validation of OCI runtime-tools against a runtime, for `make conformance`, and prints a line a test.
# RUNTIME_TOOLS is a checkout in which `make runtimetest validation-executables` has been run.
# Answers 1 if a test failed that is not in the list of those that no runtime passes here.
set -eu

tools=${RUNTIME_TOOLS:?set RUNTIME_TOOLS to a checkout of opencontainers/runtime-tools}
runtime=${RUNTIME:?set RUNTIME to the path of a runtime}
me=$(realpath "$0")
cd "$tools"
[ -x runtimetest ] || { echo "$tools: run \`make runtimetest validation-executables\` in it first" >&2; exit 1; }

# A test must not see what another has left, nor leave anything to the host.
if [ "${ISOLATED:-}" != yes ]; then
    ISOLATED=yes RUNTIME=$runtime exec unshare --mount --pid --fork --kill-child --mount-proc --net "$me" "$@"
fi
mount -t tmpfs -o mode=755 none /run
# crun gives its standard streams to root of the container's user namespace: the host's /dev/null, too.
mknod -m 666 /run/null c 1 3
mount --bind /run/null /dev/null
ip link set lo up 2>/dev/null || true
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/tmp"

printf '%-34s %6s %6s %6s  %s\n' TEST PASSED FAILED SKIPPED RESULT
passed=0 failed=0
for test in validation/*/*.t; do
    [ $# = 0 ] || case " $* " in *" $(basename "$test" .t) "*) ;; *) continue ;; esac
    name=$(basename "$test" .t)
    status=0
    TMPDIR=$scratch/tmp RUNTIME=$runtime timeout -k 5 120 "$test" >"$scratch/out" 2>"$scratch/err" </dev/null || status=$?
    ok=$(grep -c '^ok ' "$scratch/out") || true
    bad=$(grep '^not ok ' "$scratch/out" | grep -cv '# TODO') || true
    skipped=$(grep -ci '^ok .*# skip' "$scratch/out") || true
    if [ "$status" = 0 ] && [ "$bad" = 0 ]; then
        result=passed
        passed=$((passed + 1))
    else
        result="FAILED (exit $status)"
        failed=$((failed + 1))
    fi
    printf '%-34s %6d %6d %6d  %s\n' "$name" $((ok - skipped)) "$bad" "$skipped" "$result"
    if [ "$result" != passed ]; then
        grep '^not ok ' "$scratch/out" | grep -v '# TODO' | sort | uniq -c | head -5 | sed 's/^/    /'
        head -c 600 "$scratch/err" | tr -d '\000' | sed 's/^/    /'
        [ -z "${VERBOSE:-}" ] || sed 's/^/    | /' "$scratch/out"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
