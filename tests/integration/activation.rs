//! What a service manager hands to a container: listening sockets, the socket for its readiness; and what
//! it must not inherit: the session keyring.

use crate::harness::{Bundle, Need, requires};
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

// crun leaves LISTEN_FDS out.
#[test]
fn listening_sockets_are_handed_on() {
    let b = Bundle::sh("echo $LISTEN_FDS $LISTEN_PID $$; cat <&3; cat <&4; ls /proc/self/fd | wc -l");
    let b = b.prelude(
        "cd $BASE/io; echo three > a; echo four > b; exec 3<a 4<b; export LISTEN_FDS=2 LISTEN_PID=$$",
    );
    let out = b.run().ok();
    // Descriptors 0 to 4, and the directory that ls reads.
    assert_eq!(out.lines(), ["2 1 1", "three", "four", "6"]);
}

#[test]
fn listening_sockets_come_before_preserved_descriptors() {
    let b = Bundle::sh("cat <&3; cat <&4; ls /proc/self/fd | wc -l");
    let b = b.prelude(
        "cd $BASE/io; echo three > a; echo four > b; exec 3<a 4<b 5</; export LISTEN_FDS=1 LISTEN_PID=$$",
    );
    assert_eq!(b.run_with(&["--preserve-fds", "1"]).ok().lines(), ["three", "four", "6"]);
}

#[test]
fn sockets_for_another_process_are_none() {
    let b = Bundle::sh("echo \"none: $LISTEN_FDS$LISTEN_PID\"; ls /proc/self/fd | wc -l");
    let b = b.prelude("export LISTEN_FDS=2 LISTEN_PID=1; exec 3</ 4</");
    assert_eq!(b.run().ok().lines(), ["none:", "4"]);
}

/// A service manager's socket; its thread reads what comes, so that a barrier (sd_notify_barrier(3)) is
/// answered, until nothing has come for a while.
fn notify_socket(b: Bundle) -> (Bundle, Receiver<String>) {
    let path = b.io().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count) = socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            if text.lines().any(|line| sender.send(line.to_owned()).is_err()) {
                return;
            }
        }
    });
    (b.runtime_env("NOTIFY_SOCKET", path.to_str().unwrap()), receiver)
}

/// Takes lines until all of these have come, in whatever order.
#[track_caller]
fn expect(lines: &Receiver<String>, expected: &[&str]) {
    let mut seen = Vec::new();
    while !expected.iter().all(|line| seen.iter().any(|have| have == line)) {
        let line = lines.recv_timeout(Duration::from_secs(20));
        seen.push(line.unwrap_or_else(|_| panic!("no {expected:?} among {seen:?}")));
    }
}

#[test]
fn readiness_reaches_the_notify_socket_of_the_host() {
    let (b, lines) = notify_socket(Bundle::new().mount("/run", "tmpfs", "tmpfs", &[]).probe("notify"));
    b.run().ok();
    expect(&lines, &["READY=1"]);
    b.assert_nothing_left();
}

#[test]
fn start_waits_for_readiness_and_names_the_main_process() {
    let (b, lines) = notify_socket(Bundle::new().mount("/run", "tmpfs", "tmpfs", &[]).probe("notify"));
    b.create().ok();
    let pid = b.pid();
    b.start().ok();
    expect(&lines, &["READY=1", &format!("MAINPID={pid}")]);
}

// runc overlooks READY=1 unless it is the first line.
#[test]
fn readiness_may_come_after_other_lines() {
    let (b, lines) = notify_socket(Bundle::new().mount("/run", "tmpfs", "tmpfs", &[]).probe("notify-late"));
    b.run().ok();
    expect(&lines, &["READY=1"]);
}

#[test]
fn a_container_without_a_manager_has_no_notify_socket() {
    let out = Bundle::sh("env").run().ok();
    assert!(!out.stdout.contains("NOTIFY") && !out.stdout.contains("LISTEN"), "{out}");
}

#[test]
fn each_container_has_a_session_keyring_of_its_own() {
    requires!(Need::Keyrings);
    let b = Bundle::sh("cat /proc/keys");
    let out = b.run().ok();
    assert!(out.stdout.contains(&b.id), "{out}");
}

#[test]
fn no_new_keyring_keeps_the_runtimes() {
    requires!(Need::Keyrings);
    let b = Bundle::sh("cat /proc/keys");
    let out = b.run_with(&["--no-new-keyring"]).ok();
    assert!(!out.stdout.contains(&b.id), "{out}");
}
