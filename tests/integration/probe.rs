//! What a busybox script cannot see or do, done by this very executable inside the container: it is static,
//! so a copy of it runs in any root file system.

use crate::harness::{Bundle, Output, copy_program};
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;

impl Bundle {
    /// The container runs the probe of this name (see [`probe`]); what libtest prints goes before its output.
    pub fn probe(self, name: &str) -> Self {
        let probe = self.rootfs().join("bin/probe");
        copy_program(std::env::current_exe().unwrap(), probe);
        self.env(&format!("PROBE={name}")).args(["/bin/probe", "--exact", "probe::probe", "--nocapture"])
    }

    /// The container makes system calls, each in a process of its own: a number and its arguments, the
    /// others are 0.
    pub fn calls(self, calls: &[(i64, &[u64])]) -> Self {
        self.probe("calls").env(&format!("CALLS={}", serde_json::to_string(calls).unwrap()))
    }
}

impl Output {
    /// What came of the calls of [`Bundle::calls`], each a value, an errno or a fatal signal.
    #[track_caller]
    pub fn results(&self) -> Vec<&str> {
        let results: Vec<_> = self.stdout.lines().filter_map(|line| line.strip_prefix("= ")).collect();
        assert!(!results.is_empty(), "{self}");
        results
    }
}

/// Does nothing unless it runs as a container's process.
#[test]
fn probe() {
    match std::env::var("PROBE").as_deref() {
        Ok("notify") => notify(b"READY=1\n"),
        Ok("notify-late") => notify(b"STATUS=up\nREADY=1\n"),
        Ok("calls") => calls(raw_call),
        #[cfg(target_arch = "x86_64")]
        Ok("calls-32-bit") => calls(raw_call_32_bit),
        Ok("clocks") => clocks(),
        Ok("thread") => outlive_thread(),
        Ok("signalled") => signalled(),
        Ok(name) => panic!("no probe {name}"),
        Err(_) => return,
    }
    std::process::exit(0);
}

/// Tells whoever listens at `$NOTIFY_SOCKET` that the service is ready (sd_notify(3)).
fn notify(message: &[u8]) {
    let socket = std::env::var("NOTIFY_SOCKET").expect("NOTIFY_SOCKET is not set");
    UnixDatagram::unbound().unwrap().send_to(message, socket).unwrap();
}

/// The seconds of a clock, as this process has it.
pub fn seconds(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is written during the call only.
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut time) }, 0);
    time.tv_sec
}

/// Prints the seconds of both clocks that a time namespace shifts.
fn clocks() {
    println!("\n= {}\n= {}", seconds(libc::CLOCK_MONOTONIC), seconds(libc::CLOCK_BOOTTIME));
}

/// Makes the calls of `$CALLS`.
fn calls(raw: fn(i64, [u64; 6]) -> i64) {
    let calls: Vec<(i64, Vec<u64>)> = serde_json::from_str(&std::env::var("CALLS").unwrap()).unwrap();
    for (number, given) in calls {
        let mut args = [0; 6];
        args[..given.len()].copy_from_slice(&given);
        println!("\n= {}", in_child(|| raw(number, args)));
    }
}

/// What a call returns, in a child that may die of it.
fn in_child(call: impl Fn() -> i64) -> String {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    // SAFETY: the child only makes system calls.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let _ = writer.write_all(&call().to_ne_bytes());
            // SAFETY: nothing of this process is touched any more.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            drop(writer);
            if let WaitStatus::Signaled(_, signal, _) = waitpid(child, None).unwrap() {
                return signal.to_string();
            }
            let mut value = [0; 8];
            reader.read_exact(&mut value).unwrap();
            match i64::from_ne_bytes(value) {
                value @ -4095..=-1 => format!("{:?}", Errno::from_raw(-i32::try_from(value).unwrap())),
                value => value.to_string(),
            }
        }
    }
}

fn raw_call(number: i64, [a, b, c, d, e, f]: [u64; 6]) -> i64 {
    // SAFETY: the tests name calls that touch no memory of this process.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => -i64::from(Errno::last_raw()),
        value => value,
    }
}

/// A call in the way of x86, which a process of x86_64 can make too. Only its first argument is passed.
#[cfg(target_arch = "x86_64")]
fn raw_call_32_bit(number: i64, args: [u64; 6]) -> i64 {
    let mut result = number;
    // SAFETY: as above; rbx, which the compiler keeps for itself, is put back.
    unsafe {
        std::arch::asm!("xchg {first}, rbx", "int 0x80", "xchg {first}, rbx", first = inout(reg) args[0] => _,
            inout("rax") result, in("rcx") 0, in("rdx") 0, in("rsi") 0, in("rdi") 0);
    }
    // The kernel returns 32 bits.
    i64::from(i32::try_from(result << 32 >> 32).unwrap())
}

/// Sees what becomes of a process one of whose threads asks for its parent.
fn outlive_thread() {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    let (reader, writer) = std::io::pipe().unwrap();
    std::thread::spawn(move || {
        let mut reader = reader;
        let _ = reader.read(&mut [0]);
        raw_call(libc::SYS_getppid, [0; 6]);
        println!("\nthe thread lives");
        loop {
            std::thread::park();
        }
    });
    assert_eq!(threads(), before + 1);
    drop(writer);
    crate::harness::wait_until("the thread to end", || threads() == before);
    println!("\nthe others live");
}

/// Asks for its parent, and tells what came of it and how many signals came meanwhile.
fn signalled() {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
    use std::sync::atomic::{AtomicU32, Ordering};
    static CAUGHT: AtomicU32 = AtomicU32::new(0);
    extern "C" fn count(_: i32) {
        CAUGHT.fetch_add(1, Ordering::Relaxed);
    }
    // The call is not made again after the signal.
    let action = SigAction::new(SigHandler::Handler(count), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing but count.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    let result = match raw_call(libc::SYS_getppid, [0; 6]) {
        value @ ..0 => format!("{:?}", Errno::from_raw(-i32::try_from(value).unwrap())),
        value => value.to_string(),
    };
    println!("\n= {result}\n= {}", CAUGHT.load(Ordering::Relaxed));
}
