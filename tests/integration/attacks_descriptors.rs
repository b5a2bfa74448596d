//! Descriptors of the host that leak into a container, and the runtime's own executable
//! (CVE-2016-9962, CVE-2019-5736, CVE-2024-21626).

use crate::attacks::{Outside, SECRET};
use crate::harness::*;
use rustix::fs::SealFlags;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;

/// What the caller leaks: a directory and a file of the host and a pipe, without close-on-exec.
const LEAKS: &str = "exec 3<$BASE/outside 4<$BASE/outside/marker 5<$BASE 7</ 9<$BASE/outside/dir";

/// Lists the shell's descriptors.
const LIST: &str = "ls -l /proc/$$/fd";

/// The descriptors that [`LIST`] printed.
fn listed(text: &str) -> Vec<(u32, String)> {
    let entry = |line: &str| {
        let (about, target) = line.split_once(" -> ")?;
        Some((about.rsplit(' ').next()?.parse().ok()?, target.to_owned()))
    };
    let mut listed: Vec<_> = text.lines().filter_map(entry).collect();
    listed.sort();
    listed
}

#[track_caller]
fn assert_only(out: &Output, numbers: &[u32]) {
    let listed = listed(&out.stdout);
    assert_eq!(listed.iter().map(|(number, _)| *number).collect::<Vec<_>>(), numbers, "{listed:?}: {out}");
}

#[test]
fn nothing_but_the_standard_streams_gets_in() {
    requires!(Need::Root);
    let b = Bundle::sh(LIST);
    let _outside = Outside::of(&b);
    let b = b.prelude(LEAKS);
    assert_only(&b.run().ok(), &[0, 1, 2]);
    let b = Bundle::idle();
    let _outside = Outside::of(&b);
    let b = b.prelude(LEAKS).up();
    assert_only(&b.exec(&["/bin/sh", "-c", LIST]).ok(), &[0, 1, 2]);
    let init = format!("/proc/{}/fd", b.pid());
    let open: Vec<_> = fs::read_dir(init).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(open.len(), 3, "{open:?}");
}

#[test]
fn preserved_descriptors_and_no_others_get_in() {
    requires!(Need::Root);
    let b = Bundle::sh(LIST);
    let _outside = Outside::of(&b);
    let b = b.prelude("exec 3</dev/zero 4</dev/full 5<$BASE/outside 6</");
    let out = b.run_with(&["--preserve-fds", "2"]).ok();
    assert_only(&out, &[0, 1, 2, 3, 4]);
    assert_eq!(listed(&out.stdout)[3].1, "/dev/zero");
    let b = Bundle::idle().prelude("exec 3</dev/zero 4</dev/full 5</").up();
    assert_only(&b.exec_with(&["--preserve-fds", "1"], &["/bin/sh", "-c", LIST]).ok(), &[0, 1, 2, 3]);
}

/// What the caller promises to pass on but has not opened must not be a descriptor of the runtime's own.
#[test]
fn what_is_not_open_is_not_preserved() {
    requires!(Need::Root);
    let refused = |out: Output| {
        assert!(listed(&out.stdout).is_empty(), "{out}");
        assert!(out.code() != 0 && out.stderr.contains("preserve-fds"), "{out}");
        out.one_line();
    };
    for count in ["1", "3", "9"] {
        refused(Bundle::sh(LIST).run_with(&["--preserve-fds", count]));
        // One of several is missing.
        let b = Bundle::sh(LIST).prelude("exec 3</dev/null");
        if count != "1" {
            refused(b.run_with(&["--preserve-fds", count]));
        }
        let b = Bundle::idle().up();
        refused(b.exec_with(&["--preserve-fds", count], &["/bin/sh", "-c", LIST]));
    }
    for count in ["1", "5"] {
        let out = Bundle::sh(LIST).runtime_env("LISTEN_FDS", count).run();
        assert!(listed(&out.stdout).iter().all(|(number, _)| *number < 3), "{out}");
    }
}

#[test]
fn closed_standard_streams_are_not_replaced_by_files_of_the_host() {
    requires!(Need::Root);
    let b = Bundle::sh(&format!("({LIST}) > /tmp/list")).prelude("exec 0<&- 1>&- 2>&-");
    b.run();
    let list = fs::read_to_string(b.rootfs().join("tmp/list")).unwrap_or_default();
    for (number, target) in listed(&list) {
        assert!(number > 2 || target == "/dev/null" || target == "/tmp/list", "{list}");
    }
    b.assert_nothing_left();
}

// CVE-2024-21626
#[test]
fn no_working_directory_through_a_descriptor() {
    requires!(Need::Root);
    let climb = "ls -a; cat marker ../marker ../../marker ../outside/marker; pwd";
    for number in 0..16 {
        let link = format!("/proc/self/fd/{number}");
        let task = format!("/proc/thread-self/fd/{number}/..");
        for cwd in [link.as_str(), "/link", &task, "/link/sub"] {
            let b = Bundle::sh(climb).symlink("/link", &link).set("/process/cwd", cwd);
            let outside = Outside::of(&b);
            let b = b.prelude(LEAKS);
            let out = b.run().fails(1, &["process.cwd"]).one_line();
            assert!(!out.stdout.contains(SECRET), "{out}");
            outside.assert_unchanged();
            b.assert_nothing_left();
            if number > 10 {
                break;
            }
        }
    }
    let b = Bundle::idle();
    let _outside = Outside::of(&b);
    let b =
        (0..16).fold(b.prelude(LEAKS), |b, n| b.symlink(&format!("/link{n}"), &format!("/proc/self/fd/{n}")));
    let b = b.up();
    for number in 0..16 {
        for cwd in [format!("/proc/self/fd/{number}"), format!("/link{number}"), format!("/link{number}/..")]
        {
            let out = b.exec_with(&["--cwd", &cwd], &["/bin/sh", "-c", climb]);
            out.fails(255, &["process.cwd"]).one_line();
        }
    }
}

#[test]
fn no_program_through_a_descriptor() {
    requires!(Need::Root);
    for number in 0..16 {
        let b = Bundle::new().symlink("/link", &format!("/proc/self/fd/{number}"));
        let outside = Outside::of(&b);
        let evil = outside.path.join("evil");
        copy_program(b.rootfs().join("bin/busybox"), &evil);
        let mut b = b.prelude(LEAKS);
        for program in [format!("/proc/self/fd/{number}/evil"), "/link/evil".into(), "/link/../evil".into()] {
            b = b.args([program.as_str(), "echo", "out of the root"]);
            let out = b.run().fails(1, &["process.args[0]"]).one_line();
            assert!(out.stdout.is_empty(), "{out}");
        }
        b.assert_nothing_left();
    }
}

/// While a created container waits, its init holds what a program started by `exec` could reach.
#[test]
fn a_created_container_holds_nothing_of_the_host() {
    requires!(Need::Root);
    let b = Bundle::idle().prelude("exec 3<$BASE/outside 4</");
    let _outside = Outside::of(&b);
    let b = b.capabilities(&["bounding", "effective", "permitted"], &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]);
    b.create().ok();
    let fds = format!("/proc/{}/fd", b.pid());
    for entry in fs::read_dir(&fds).unwrap().flatten() {
        let target = fs::read_link(entry.path()).unwrap();
        let number: u32 = entry.file_name().to_str().unwrap().parse().unwrap();
        let about = fs::metadata(entry.path()).unwrap();
        assert!(!about.is_dir(), "descriptor {number} of init is the directory {}", target.display());
        assert!(number < 3 || !about.is_file(), "descriptor {number} of init is {}", target.display());
    }
    let climb = "for fd in /proc/1/fd/* /proc/1/cwd /proc/1/root; do cat $fd/marker $fd/../outside/marker; \
                 ls $fd/bundle $fd/../bundle $fd/../../bundle; done 2>/dev/null; true";
    let out = b.exec(&["/bin/sh", "-c", climb]).ok();
    assert_eq!(out.stdout, "", "{out}");
}

/// A process that enters a container holds nothing by which the container's own could leave it
/// (CVE-2016-9962): here these look at every process that comes, with the right to do so.
#[test]
fn what_enters_a_container_holds_nothing_of_the_host() {
    requires!(Need::Root);
    let spy = "echo ready; while :; do for p in /proc/[0-9]*; do [ $p = /proc/$$ ] || \
               cat $p/fd/*/marker $p/fd/*/../marker $p/fd/*/state.json $p/fd/*/../outside/marker \
               $p/cwd/../outside/marker $p/root/../outside/marker; done 2>/dev/null; done";
    let b = Bundle::sh(spy).prelude("exec 3<$BASE/outside 4<$BASE");
    let _outside = Outside::of(&b);
    let b =
        b.capabilities(&["bounding", "effective", "permitted"], &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]).up();
    for _ in 0..40 {
        b.exec(&["/bin/true"]).ok();
    }
    assert_eq!(b.logs(0), "ready\n");
}

#[test]
fn hooks_inherit_no_descriptors() {
    requires!(Need::Root);
    let kinds = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    let b = Bundle::sh("true").directory("/fds");
    let _outside = Outside::of(&b);
    // Nothing but the shell itself, whose /proc may be that of another PID namespace.
    let script =
        "for n in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do [ -e /proc/self/fd/$n ] && echo $n; done; true";
    let list = |place: &str, kind: &str| format!("exec >{place}/{kind}; {script}");
    let dir = b.rootfs().join("fds");
    let place = dir.to_str().unwrap().to_owned();
    let b = kinds.iter().fold(b.prelude(LEAKS), |b, kind| {
        b.hook(kind, &list(if *kind == "startContainer" { "/fds" } else { &place }, kind))
    });
    b.run().ok();
    for kind in kinds {
        let text = fs::read_to_string(dir.join(kind)).unwrap();
        assert_eq!(text, "0\n1\n2\n", "{kind}");
    }
}

/// What tells whether a file has been changed.
fn identity(path: &std::path::Path) -> (u64, u64, u32, u64, i64, i64, Vec<u8>) {
    let about = fs::metadata(path).unwrap();
    let content = fs::read(path).unwrap();
    (about.dev(), about.ino(), about.mode(), about.len(), about.mtime(), about.ctime(), content)
}

#[track_caller]
fn assert_sealed(pid: i32) {
    let exe = format!("/proc/{pid}/exe");
    let file = File::open(&exe).unwrap();
    let seals = rustix::fs::fcntl_get_seals(&file).expect("the executable is a memfd");
    let all = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    assert!(seals.contains(all), "{seals:?}");
    let (own, hosts) = (file.metadata().unwrap(), fs::metadata(runtime()).unwrap());
    assert_ne!((own.dev(), own.ino()), (hosts.dev(), hosts.ino()), "it is the host's file");
    for path in [exe, format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file))] {
        let refused = match OpenOptions::new().write(true).open(&path) {
            Ok(mut file) => file.write_all(b"evil").is_err() && file.set_len(0).is_err(),
            Err(_) => true,
        };
        assert!(refused, "{path} can be written");
    }
}

/// The process uses no page of any file.
#[track_caller]
fn assert_moved(pid: i32) {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let inodes: Vec<&str> = maps.lines().map(|line| line.split_whitespace().nth(4).unwrap()).collect();
    assert!(inodes.len() > 5 && inodes.iter().all(|inode| *inode == "0"), "{maps}");
    assert_eq!(fs::read(format!("/proc/{pid}/exe")).unwrap(), b"");
}

#[track_caller]
fn assert_copied(pid: i32) {
    assert_sealed(pid);
    assert!(fs::read(format!("/proc/{pid}/exe")).unwrap() == fs::read(runtime()).unwrap());
}

/// What the kernel tells of a mapped file is there the one below the overlay, not the executable.
#[test]
fn the_executable_may_be_in_an_overlay() {
    requires!(Need::Root, Need::ExecutableMemfd, Need::InstalledExecutable);
    let overlay = "set -- unshare --mount sh -euc 'd=$(mktemp -d -p $BASE); mkdir $d/lower $d/upper $d/work $d/merged; \
                   cp \"$1\" $d/lower/orlop; \
                   mount -t overlay -o lowerdir=$d/lower,upperdir=$d/upper,workdir=$d/work overlay $d/merged; \
                   shift; exec $d/merged/orlop \"$@\"' sh \"$@\"";
    let b = Bundle::idle().prelude(overlay);
    b.create().ok();
    assert_sealed(b.pid());
    assert_moved(b.pid());
}

#[test]
fn the_executable_in_a_container_is_a_sealed_copy() {
    requires!(Need::Root, Need::ExecutableMemfd);
    let before = identity(&runtime());
    let b = Bundle::idle();
    b.create().ok();
    assert_sealed(b.pid());
    if Need::InstalledExecutable.is_met() {
        assert_moved(b.pid());
    }
    // Whoever has it open when the program has taken its place, and writes then, writes nothing either.
    let held = File::open(format!("/proc/{}/exe", b.pid())).unwrap();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held));
    b.delete_force().ok();
    let written = OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(b"evil"));
    assert!(written.is_err());
    assert!(before == identity(&runtime()), "the runtime's file has changed");
}

#[test]
fn the_container_cannot_write_the_executable_that_enters_it() {
    requires!(Need::Root);
    let before = identity(&runtime());
    // The shell keeps every executable that it meets open, and tries to write it ever after.
    let steal = "echo ready; n=10; while :; do for exe in /proc/[0-9]*/exe; do \
                 cmp -s $exe /bin/busybox || { eval \"exec $n<$exe\" && n=$((n+1)); }; done 2>/dev/null; \
                 for fd in /proc/self/fd/??; do { echo evil >$fd || echo evil >>$fd; } 2>/dev/null && echo written; done; \
                 [ $n -lt 60 ] || n=10; done";
    let b = Bundle::sh(steal)
        .capabilities(&["bounding", "effective", "permitted"], &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]);
    let b = b.symlink("/bin/evil", "/proc/self/exe").file("/bin/script", "#!/proc/self/exe\n").up();
    for program in ["/proc/self/exe", "/bin/evil", "/bin/script"] {
        for _ in 0..5 {
            b.exec(&[program]);
            b.exec(&[program, "list"]);
        }
    }
    assert_eq!(b.logs(0), "ready\n");
    drop(b);
    for program in ["/proc/self/exe", "/bin/evil", "/bin/script"] {
        let b =
            Bundle::new().symlink("/bin/evil", "/proc/self/exe").file("/bin/script", "#!/proc/self/exe\n");
        let b = b.args([program, "--version"]);
        b.run();
        b.assert_nothing_left();
    }
    assert!(before == identity(&runtime()), "the runtime's file has changed");
}

/// An ordinary user may not exchange the executable of a process that goes on. He executes a copy.
#[test]
fn the_executable_of_an_ordinary_user_is_a_sealed_copy() {
    requires!(Need::Root, Need::UserNamespace, Need::ExecutableMemfd);
    let b = Bundle::idle().unprivileged();
    b.create().ok();
    assert_copied(b.pid());
}

/// Nor may root where no memory that was written can be made executable.
#[test]
fn the_executable_is_a_sealed_copy_where_memory_is_not_executable() {
    requires!(Need::Root, Need::ExecutableMemfd, Need::DeniedExecutableMemory, Need::Program("python3"));
    let deny = "import ctypes, os, sys; PR_SET_MDWE = 65; ctypes.CDLL(None).prctl(PR_SET_MDWE, 1, 0, 0, 0) and sys.exit(1); \
                os.execvp(sys.argv[1], sys.argv[1:])";
    let b = Bundle::idle().prelude(&format!("set -- python3 -c '{deny}' \"$@\""));
    b.create().ok();
    assert_copied(b.pid());
}

/// Where the kernel executes no memfd, root makes the executable read-only by a mount, and to an ordinary user it is so anyway.
#[test]
fn without_executable_memfds_the_executable_is_read_only() {
    requires!(
        Need::Root,
        Need::UserNamespace,
        Need::Program("setpriv"),
        Need::File("/proc/sys/vm/memfd_noexec")
    );
    let before = identity(&runtime());
    let noexec = "set -- unshare --pid --fork --mount-proc sh -euc 'echo 2 >/proc/sys/vm/memfd_noexec; exec \"$@\"' sh \"$@\"";
    // The one that runs the container, and its init; to a user both are closed.
    for (b, refused) in [(Bundle::new(), 2), (Bundle::new().unprivileged(), 0)] {
        let steal = "for exe in /proc/[0-9]*/exe; do [ \"$(readlink $exe)\" != / ] || chmod 755 $exe; done >stolen 2>&1; exit 0";
        let b = b.hook("createContainer", steal).prelude(noexec);
        b.run().ok();
        let stolen = fs::read_to_string(b.rootfs().join("stolen")).unwrap();
        assert_eq!(stolen.matches("Read-only file system\n").count(), refused, "{stolen}");
        assert_eq!(stolen.lines().count(), refused, "{stolen}");
        b.assert_nothing_left();
    }
    let bounded = "set -- setpriv --inh-caps -sys_admin --bounding-set -sys_admin \"$@\"";
    let b = Bundle::new().prelude(bounded).prelude(noexec);
    b.run().fails(1, &["memfd_create", "open_tree", "vm.memfd_noexec=2"]).one_line();
    assert!(before == identity(&runtime()), "the runtime's file has changed");
}
