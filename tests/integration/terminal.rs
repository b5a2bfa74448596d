//! Terminals: sent through a console socket, and attached to the caller's own.

use crate::harness::{Bundle, ConsoleSocket, Need, Terminal, requires};
use serde_json::json;

fn with_terminal(script: &str) -> Bundle {
    Bundle::sh(script).set("/process/terminal", true)
}

/// Runs the container detached with a console socket.
fn detached(b: &Bundle) -> Terminal {
    let socket = ConsoleSocket::bind(b);
    b.run_with(&["--detach", "--console-socket", socket.arg()]).ok();
    socket.receive()
}

#[test]
fn a_terminal_arrives_at_the_console_socket() {
    let b = with_terminal("echo hello; read line; echo got $line");
    let socket = ConsoleSocket::bind(&b);
    b.create_with(&["--console-socket", socket.arg()]).ok();
    let mut terminal = socket.receive();
    b.start().ok();
    terminal.read_until("hello");
    terminal.write("typed\n");
    terminal.read_until("got typed");
}

#[test]
fn the_terminal_is_the_controlling_one_and_stdio() {
    let script = "tty; for fd in 0 1 2; do [ -t $fd ] && echo tty-$fd; done; echo through > /dev/tty; \
                  cut -d' ' -f1,6,7 /proc/self/stat; ls -l /proc/self/fd; echo end";
    let b = with_terminal(script);
    let text = detached(&b).read_until("end").replace('\r', "");
    for expected in ["/dev/pts/0", "tty-0", "tty-1", "tty-2", "through"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    // Device 136:0 in the encoding of proc(5); process 1 leads the session.
    assert!(text.contains(" 1 34816"), "{text}");
}

#[test]
fn dev_console_is_the_terminal() {
    let b =
        with_terminal("stat -Lc '%F %t:%T' /dev/console /dev/pts/0; echo through > /dev/console; echo end");
    let text = detached(&b).read_until("end").to_owned();
    assert_eq!(text.matches("character special file 88:0").count(), 2, "{text}");
    assert!(text.contains("through"), "{text}");
}

#[test]
fn the_console_has_the_configured_size() {
    let b =
        with_terminal("stty size; echo end").set("/process/consoleSize", json!({"height": 33, "width": 101}));
    let text = detached(&b).read_until("end").to_owned();
    assert!(text.contains("33 101"), "{text}");
}

#[test]
fn the_terminal_belongs_to_the_user() {
    let b = with_terminal("stat -c '%u:%g %a' /dev/pts/0; id -u; echo end");
    let b = b.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let text = detached(&b).read_until("end").to_owned();
    assert!(text.contains("1000:5 620"), "{text}");
}

#[test]
fn a_terminal_in_a_user_namespace() {
    requires!(Need::UserNamespace);
    let b = with_terminal("tty; stat -c '%u:%g' /dev/pts/0; [ -c /dev/console ] && echo console; echo end");
    let b = b.user_namespace().set("/process/user", json!({"uid": 7, "gid": 7}));
    let text = detached(&b).read_until("end").to_owned();
    for expected in ["/dev/pts/0", "7:5", "console"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn a_terminal_on_a_read_only_root() {
    let b = with_terminal("tty; [ -c /dev/console ] && echo console; echo end").set("/root/readonly", true);
    let text = detached(&b).read_until("end").to_owned();
    assert!(text.contains("/dev/pts/0") && text.contains("console"), "{text}");
}

#[test]
fn a_detached_terminal_needs_a_console_socket() {
    let b = with_terminal("true");
    b.create().fails(1, &["console socket"]);
    b.assert_nothing_left();
    b.run_with(&["--detach"]).fails(1, &["console socket"]);
    b.assert_nothing_left();
}

#[test]
fn a_console_socket_needs_a_terminal() {
    let b = Bundle::new();
    let socket = ConsoleSocket::bind(&b);
    b.create_with(&["--console-socket", socket.arg()]).fails(1, &["console socket"]);
    b.assert_nothing_left();
}

#[test]
fn a_console_socket_that_nobody_listens_at_is_an_error() {
    let b = with_terminal("true");
    let absent = b.io().join("absent.sock");
    b.create_with(&["--console-socket", absent.to_str().unwrap()]).fails(1, &["absent.sock"]);
    b.assert_nothing_left();
}

#[test]
fn an_attached_terminal_is_passed_through() {
    let b = with_terminal("tty; stty size; echo ready; read line; echo got $line; exit 3");
    b.write_config();
    let (run, mut terminal) = b.spawn_on_terminal(&b.with_bundle("run", &[]));
    terminal.read_until("ready");
    terminal.write("typed\n");
    terminal.read_until("got typed");
    assert_eq!(run.wait().code(), 3);
    b.assert_nothing_left();
}

#[test]
fn an_attached_terminal_is_resized_with_the_callers() {
    let b =
        with_terminal("trap 'echo size $(stty size)' WINCH; echo ready; while :; do sleep 1 & wait; done");
    b.write_config();
    let (run, mut terminal) = b.spawn_on_terminal(&b.with_bundle("run", &[]));
    terminal.read_until("ready");
    terminal.resize(41, 123);
    terminal.read_until("size 41 123");
    b.kill("KILL").ok();
    assert_eq!(run.wait().code(), 137);
}

// runc and crun set the size only after the start.
#[test]
fn an_attached_terminal_starts_with_the_callers_size() {
    let b = with_terminal("stty size");
    b.write_config();
    let (run, mut terminal) = b.spawn_on_terminal_of(40, 120, &b.with_bundle("run", &[]));
    assert!(terminal.read_until("40 120").contains("40 120"));
    run.wait().ok();
}

#[test]
fn an_interrupt_that_is_typed_reaches_the_container() {
    let b =
        with_terminal("trap 'echo interrupted; exit 4' INT; echo ready; while :; do sleep 1 & wait; done");
    b.write_config();
    let (run, mut terminal) = b.spawn_on_terminal(&b.with_bundle("run", &[]));
    terminal.read_until("ready");
    terminal.write("\x03");
    terminal.read_until("interrupted");
    assert_eq!(run.wait().code(), 4);
}

#[test]
fn the_callers_terminal_is_left_as_it_was() {
    for script in ["echo ready", "stty raw -echo; echo ready; kill -9 $$"] {
        let b = with_terminal(script).without_namespace("pid");
        b.write_config();
        // As every new one has them: those of this one may be changed already when they are read.
        let before = Terminal::open(24, 80).0.settings();
        let (run, mut terminal) = b.spawn_on_terminal(&b.with_bundle("run", &[]));
        terminal.read_until("ready");
        run.wait().code();
        assert_eq!(terminal.settings(), before, "{script}");
    }
}

#[test]
fn an_attached_terminal_leaves_the_ends_of_lines_alone() {
    // The caller's terminal, if there is one, makes "\r\n" of them; a file or a pipe gets what the program has written.
    let b = with_terminal("echo one; echo two; stty -a 2>&- | grep -o '.onlcr'");
    assert_eq!(b.run().ok().stdout, "one\ntwo\n-onlcr\n");
    let b = Bundle::idle().up();
    assert_eq!(b.exec_with(&["--tty"], &["echo", "one"]).ok().stdout, "one\n");
    // Whoever takes the terminal itself gets it as the kernel makes it.
    let terminal = detached(&with_terminal("echo one")).read_until("one\r\n").to_owned();
    assert!(terminal.contains("one\r\n"), "{terminal:?}");
}
