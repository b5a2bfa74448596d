//! `SCMP_ACT_NOTIFY`: a program outside of the container answers for its calls.

use crate::bad_input::Trial;
use crate::harness::*;
use crate::seccomp::allowing;
use libc::{SYS_getppid, seccomp_notif, seccomp_notif_resp};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};
use std::fs;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::thread::JoinHandle;

nix::ioctl_readwrite!(
    /// `ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, notification)` of seccomp_unotify(2)
    receive, b'!', 0, seccomp_notif
);
nix::ioctl_readwrite!(
    /// `ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, response)`
    respond, b'!', 1, seccomp_notif_resp
);

nix::ioctl_write_ptr!(
    /// `ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, id)`: whether the caller still waits for its answer
    is_waiting, b'!', 2, u64
);

/// What the listener lets a call return: a value or an errno.
type Answer = fn(&seccomp_notif) -> Result<i64, i32>;

/// The socket at `linux.seccomp.listenerPath`.
struct Listener {
    socket: UnixListener,
}

impl Listener {
    fn bind(path: &Path) -> Self {
        Listener { socket: UnixListener::bind(path).unwrap() }
    }

    /// The message of the next process under a filter, and the descriptor of its notifications.
    #[track_caller]
    fn accept(&self) -> (Value, OwnedFd) {
        wait_readable(&self.socket);
        let (stream, _) = self.socket.accept().unwrap();
        wait_readable(&stream);
        let mut buffer = [0; 8192];
        let mut space = nix::cmsg_space!([RawFd; 4]);
        let mut data = [IoSliceMut::new(&mut buffer)];
        let message =
            recvmsg::<()>(stream.as_raw_fd(), &mut data, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)
                .unwrap();
        let descriptors: Vec<RawFd> = message
            .cmsgs()
            .unwrap()
            .flat_map(|control| match control {
                ControlMessageOwned::ScmRights(descriptors) => descriptors,
                _ => Vec::new(),
            })
            .collect();
        assert_eq!(descriptors.len(), 1, "one descriptor");
        let length = message.bytes;
        // SAFETY: recvmsg has just made this descriptor for us, and nothing else knows its number.
        let fd = unsafe { OwnedFd::from_raw_fd(descriptors[0]) };
        (serde_json::from_slice(&buffer[..length]).unwrap(), fd)
    }
}

/// Answers every notification until no process is under the filter any more; how many there were.
fn serve(fd: OwnedFd, answer: Answer) -> JoinHandle<usize> {
    std::thread::spawn(move || {
        let mut served = 0;
        loop {
            let mut polled = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
            assert!(poll(&mut polled, PollTimeout::from(20_000_u16)).unwrap() > 0, "no notification");
            if !polled[0].revents().unwrap().contains(PollFlags::POLLIN) {
                return served;
            }
            let call = next_call(&fd);
            answer_call(&fd, &call, answer(&call));
            served += 1;
        }
    })
}

/// Waits for a call of the container and takes it.
fn next_call(fd: &OwnedFd) -> seccomp_notif {
    // SAFETY: the structure is plain numbers, and the kernel wants them to be 0.
    let mut call: seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is the one that this request fills in.
    unsafe { receive(fd.as_raw_fd(), &raw mut call) }.unwrap();
    call
}

/// Lets a call return.
fn answer_call(fd: &OwnedFd, call: &seccomp_notif, answer: Result<i64, i32>) {
    let (val, error) = match answer {
        Ok(value) => (value, 0),
        Err(errno) => (0, -errno),
    };
    let mut response = seccomp_notif_resp { id: call.id, val, error, flags: 0 };
    // SAFETY: the structure is the one that this request reads.
    unsafe { respond(fd.as_raw_fd(), &raw mut response) }.unwrap();
}

/// A container whose calls of these names are the listener's at `io/seccomp.sock`.
fn notifying(b: Bundle, names: &[&str]) -> Bundle {
    let mut profile = allowing(json!([{"names": names, "action": "SCMP_ACT_NOTIFY"}]));
    profile["listenerPath"] = json!(b.io().join("seccomp.sock"));
    profile["listenerMetadata"] = json!("of the test");
    b.set("/linux/seccomp", profile)
}

fn listen(b: &Bundle) -> Listener {
    Listener::bind(&b.io().join("seccomp.sock"))
}

/// The container process state of the specification.
#[track_caller]
fn check_message(message: &Value, b: &Bundle, status: &str, metadata: &str) {
    let state = &message["state"];
    assert_eq!(message["ociVersion"], b.config["ociVersion"], "{message}");
    assert_eq!(message["fds"], json!(["seccompFd"]), "{message}");
    assert_eq!(message["metadata"], metadata, "{message}");
    assert!(message["pid"].as_i64().is_some_and(|pid| pid > 1), "{message}");
    assert_eq!(state["ociVersion"], b.config["ociVersion"], "{message}");
    assert_eq!((&state["id"], &state["status"]), (&json!(b.id), &json!(status)), "{message}");
    assert_eq!(state["bundle"], json!(b.dir()), "{message}");
}

#[test]
fn the_listener_answers_for_the_container() {
    for no_new_privs in [false, true] {
        let calls: [(i64, &[u64]); 3] =
            [(SYS_getppid, &[40, 2]), (SYS_getppid, &[0, 0]), (SYS_getppid, &[1, 0, 0, 0, 0, 7])];
        let b = notifying(Bundle::new().calls(&calls), &["getppid"])
            .set("/process/noNewPrivileges", no_new_privs)
            .set("/annotations", json!({"of": "the container"}));
        let listener = listen(&b);
        b.create().ok();
        let (message, fd) = listener.accept();
        check_message(&message, &b, "creating", "of the test");
        assert_eq!(message["pid"], json!(b.pid()), "{message}");
        assert_eq!(message["state"]["pid"], json!(b.pid()), "{message}");
        assert_eq!(message["state"]["annotations"], b.config["annotations"], "{message}");
        let server = serve(fd, |call| {
            assert_eq!(i64::from(call.data.nr), SYS_getppid);
            match call.data.args {
                [0, ..] => Err(libc::EDOM),
                [a, b, _, _, _, c] => Ok(i64::try_from(a + b + c).unwrap()),
            }
        });
        b.start().ok();
        wait_until("the container to end", || b.status() == "stopped");
        assert_eq!(server.join().unwrap(), 3);
        let out = Output { stdout: b.logs(0), ..b.delete().ok() };
        assert_eq!(out.results(), ["42", "EDOM", "8"]);
        b.assert_nothing_left();
    }
}

#[test]
fn one_command_can_run_it_too() {
    let b = notifying(Bundle::sh("mkdir /made; ls -d /made"), &["mkdir", "mkdirat"])
        .set("/process/user/uid", 1000)
        .set("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"]));
    let listener = listen(&b);
    let run = b.spawn_run(&[]);
    let (message, fd) = listener.accept();
    check_message(&message, &b, "creating", "of the test");
    let server = serve(fd, |_| Err(libc::EDQUOT));
    let out = run.wait();
    assert!(out.stderr.contains("uota exceeded"), "{out}");
    assert!(!out.stdout.contains("/made"), "{out}");
    assert_eq!(server.join().unwrap(), 1);
    b.assert_nothing_left();
}

#[test]
fn each_exec_has_a_descriptor_of_its_own() {
    for no_new_privs in [false, true] {
        let b = notifying(Bundle::idle(), &["mkdir", "mkdirat"])
            .set("/process/noNewPrivileges", no_new_privs)
            .set("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]));
        let listener = listen(&b);
        b.create().ok();
        let (_, init) = listener.accept();
        for status in ["created", "running"] {
            if status == "running" {
                b.start().ok();
            }
            let exec = b.spawn(&["exec", &b.id, "mkdir", "/made"]);
            let (message, fd) = listener.accept();
            check_message(&message, &b, status, "of the test");
            assert_eq!(message["state"]["pid"], json!(b.pid()), "{message}");
            assert_ne!(message["pid"], message["state"]["pid"], "{message}");
            let server = serve(fd, |_| Err(libc::EXDEV));
            let out = exec.wait().fails(1, &["link"]);
            assert!(out.stderr.contains("mkdir"), "{out}");
            assert_eq!(server.join().unwrap(), 1);
        }
        drop(init);
        b.delete_force().ok();
        b.assert_nothing_left();
    }
}

/// What becomes of a call that is being answered when a signal comes.
#[test]
fn a_signal_interrupts_a_notified_call_unless_the_flag_says_otherwise() {
    const WAIT_KILLABLE: &str = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";
    for (flags, fatal) in
        [(json!([]), false), (json!([WAIT_KILLABLE]), false), (json!([WAIT_KILLABLE]), true)]
    {
        let b = notifying(Bundle::new().probe("signalled"), &["getppid"]);
        let b = b.set("/linux/seccomp/flags", flags.clone());
        let listener = listen(&b);
        b.create().ok();
        let (_, fd) = listener.accept();
        b.start().ok();
        wait_readable(&fd);
        let call = next_call(&fd);
        // SAFETY: the kernel reads a number that is there.
        let waits = || unsafe { is_waiting(fd.as_raw_fd(), &raw const call.id) }.is_ok();
        assert!(waits());
        // SAFETY: a signal to a thread of the container, which lives as long as it waits for its answer.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, b.pid(), call.pid, libc::SIGUSR1) };
        assert_eq!(sent, 0);
        let killable = flags != json!([]);
        if killable {
            // The signal has woken it, and it sleeps again: until the answer or a fatal signal comes.
            let stat = || fs::read_to_string(format!("/proc/{}/stat", call.pid)).unwrap();
            wait_until("a killable wait", || stat().rsplit(") ").next().unwrap().starts_with('D'));
            assert!(waits());
        } else {
            wait_until("the call to be interrupted", || !waits());
        }
        if fatal {
            b.kill("KILL").ok();
            wait_until("the container to end", || b.status() == "stopped");
            assert!(!waits());
            b.delete().ok();
            continue;
        }
        if killable {
            answer_call(&fd, &call, Ok(42));
        }
        wait_until("the container to end", || b.status() == "stopped");
        let out = Output { stdout: b.logs(0), ..b.delete().ok() };
        assert_eq!(out.results(), [if killable { "42" } else { "EINTR" }, "1"], "{flags}");
    }
}

#[test]
fn a_call_without_metadata_or_listener() {
    let calls: [(i64, &[u64]); 1] = [(SYS_getppid, &[])];
    let b = notifying(Bundle::new().calls(&calls), &["getppid"]).remove("/linux/seccomp/listenerMetadata");
    let listener = listen(&b);
    b.create().ok();
    let (message, fd) = listener.accept();
    check_message(&message, &b, "creating", "");
    // Whoever ought to answer goes away.
    drop((listener, fd));
    b.start().ok();
    wait_until("the container to end", || b.status() == "stopped");
    let out = Output { stdout: b.logs(0), ..b.delete().ok() };
    assert_eq!(out.results(), ["ENOSYS"]);
}

#[test]
fn a_listener_that_is_not_there() {
    let b = notifying(Bundle::new(), &["getppid"]);
    let io = b.io();
    let mut trial = Trial::new(b);
    let field = "linux.seccomp.listenerPath";
    let (closed, datagram, file) = (io.join("closed.sock"), io.join("datagram.sock"), io.join("file"));
    drop(UnixListener::bind(&closed).unwrap());
    let _datagram = UnixDatagram::bind(&datagram).unwrap();
    fs::write(&file, "").unwrap();
    for (path, text) in [
        (io.join("no.sock"), "failed to connect with seccomp agent"),
        (io.join("no.sock"), "no such file or directory"),
        (io.join("no/such/dir.sock"), "no such file or directory"),
        (closed, "connection refused"),
        (datagram, "wrong type"),
        (file, "connection refused"),
        (Path::new("").into(), "listenerPath"),
    ] {
        for no_new_privs in [false, true] {
            trial.refuses(
                &[
                    ("/linux/seccomp/listenerPath", json!(path)),
                    ("/process/noNewPrivileges", json!(no_new_privs)),
                ],
                &[field, text],
            );
        }
    }
}

/// Somebody listens but has no time: the wait for him ends.
#[test]
fn a_listener_that_never_accepts() {
    use nix::sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
    };
    let b = notifying(Bundle::new(), &["getppid"]);
    let address = UnixAddr::new(&b.io().join("seccomp.sock")).unwrap();
    let new = || socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let (listener, waiting) = (new(), new());
    bind(listener.as_raw_fd(), &address).unwrap();
    // One may wait, and one does.
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    connect(waiting.as_raw_fd(), &address).unwrap();
    let field = "linux.seccomp.listenerPath";
    b.create().fails(1, &[field, "connect", "EAGAIN"]).one_line();
    b.assert_nothing_left();
}

/// Somebody accepts and goes away, before he has the descriptor or with it: that is an error, or a container without a
/// listener, but never a container half made.
#[test]
fn a_listener_that_hangs_up() {
    let b = notifying(Bundle::idle(), &["mkdir", "mkdirat"]);
    let path = b.io().join("seccomp.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let failed = |out: Output, code: i32| match out.status.code() {
        Some(0) => false,
        _ => {
            out.fails(code, &["linux.seccomp.listenerPath", "sendmsg"]).one_line();
            true
        }
    };
    for _ in 0..10 {
        if failed(b.create(), 1) {
            b.assert_nothing_left();
        } else {
            b.delete_force().ok();
        }
    }
    wait_until("a descriptor to be taken", || !failed(b.create(), 1));
    b.start().ok();
    for _ in 0..10 {
        failed(b.exec(&["true"]), 255);
        assert_eq!(b.status(), "running");
    }
    b.delete_force().ok();
    b.assert_nothing_left();
}

#[test]
fn exec_without_its_listener_fails_and_the_container_goes_on() {
    let b = notifying(Bundle::idle(), &["mkdir", "mkdirat"]);
    let listener = listen(&b);
    b.create().ok();
    let (_, fd) = listener.accept();
    b.start().ok();
    drop(listener);
    b.exec(&["true"]).fails(255, &["linux.seccomp.listenerPath", "connection refused"]).one_line();
    assert_eq!(b.status(), "running");
    wait_until("the process that was to be to end", || {
        fs::read_to_string(format!("/proc/{0}/task/{0}/children", b.pid()))
            .is_ok_and(|list| list.split(' ').count() <= 2)
    });
    drop(fd);
}

#[test]
fn a_listener_that_no_rule_asks_for_is_not_looked_for() {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/no/such/socket", "listenerMetadata": "x"});
    Bundle::new().set("/linux/seccomp", profile).run().ok();
}
