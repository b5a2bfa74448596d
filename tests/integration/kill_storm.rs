//! A command of the runtime is killed by SIGKILL at any moment: what it leaves is found and removed by the
//! next `delete --force`, and no init outlives a creator that did not finish.
//!
//! The moments are random, from a fixed seed, and lie within the time that the command took before.

use crate::harness::{Bundle, processes_of, wait_until};
use nix::sys::signal::Signal;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

/// Random moments within the duration of a command and a little beyond it.
struct Moments {
    state: u64,
    longest: Duration,
}

impl Moments {
    fn new(seed: u64, took: Duration) -> Self {
        Moments { state: seed | 1, longest: took + took / 10 }
    }

    /// xorshift64 (Marsaglia 2003).
    fn next(&mut self) -> Duration {
        for shift in [13, -7, 17] {
            self.state ^= if shift > 0 { self.state << shift } else { self.state >> -shift };
        }
        let nanoseconds = u64::try_from(self.longest.as_nanos()).unwrap().max(1);
        Duration::from_nanos(self.state % nanoseconds)
    }

    /// Follows a machine that has become busier or idler since: the command was killed at this moment, or was over by then.
    fn learn(&mut self, moment: Duration, killed: bool) {
        self.longest = if killed { self.longest + self.longest / 50 } else { moment + moment / 10 };
    }
}

/// Kills a command a moment after it was begun; tells whether that was before its end.
fn kill_after<S: AsRef<str>>(b: &Bundle, command: &[S], moment: Duration) -> bool {
    let command = b.spawn(command);
    // Sleeping would come back too late, by more than some of the steps take.
    let end = Instant::now() + moment;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
    command.signal(Signal::SIGKILL);
    let status = command.wait().status;
    assert!(status.success() || status.signal() == Some(9), "{status}");
    status.signal().is_some()
}

/// The longest of three times that something takes.
fn measure(mut run: impl FnMut() -> Duration) -> Duration {
    (0..3).map(|_| run()).max().unwrap()
}

fn time(run: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    run();
    begin.elapsed()
}

/// Whether nothing of the container runs, or soon no longer does.
fn ends_within_a_second(id: &str) -> bool {
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        if processes_of(id).is_empty() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

fn storm_of_creates(seed: u64) {
    let b = Bundle::new().hook("prestart", "true").hook("createContainer", "true");
    b.write_config();
    let took = measure(|| {
        let took = time(|| drop(b.create().ok()));
        b.delete_force().ok();
        took
    });
    let mut moments = Moments::new(seed, took);
    let mut killed = 0;
    for _ in 0..50 {
        let moment = moments.next();
        let was_killed = kill_after(&b, &b.with_bundle("create", &[]), moment);
        killed += u32::from(was_killed);
        moments.learn(moment, was_killed);
        // Either the creator was done but for its own end, and the container is whole; or it ends, however long that takes.
        if was_killed && !ends_within_a_second(&b.id) && !b.start().status.success() {
            wait_until("what the creator has left ends", || processes_of(&b.id).is_empty());
        }
        b.delete_force().ok();
        b.assert_nothing_left();
    }
    assert!(killed >= 20, "most moments lie before the end: {killed} of 50 within {took:?}");
}

#[test]
fn create_is_killed_at_50_moments() {
    storm_of_creates(0x5eed_0001);
}

#[test]
fn create_is_killed_at_50_more_moments() {
    storm_of_creates(0x5eed_0002);
}

#[test]
fn create_is_killed_at_a_third_50_moments() {
    storm_of_creates(0x5eed_0003);
}

#[test]
fn create_is_killed_at_a_fourth_50_moments() {
    storm_of_creates(0x5eed_0004);
}

#[test]
fn start_is_killed_at_40_moments() {
    let b = Bundle::idle();
    b.write_config();
    let took = measure(|| {
        b.create().ok();
        let took = time(|| drop(b.start().ok()));
        b.delete_force().ok();
        took
    });
    let mut moments = Moments::new(0x5eed_0005, took);
    for _ in 0..40 {
        b.create().ok();
        let moment = moments.next();
        kill_after(&b, &["start", &b.id], moment);
        let again = b.start();
        if !again.status.success() {
            again.fails(1, &["cannot start an already running container"]).one_line();
        }
        assert_eq!(b.status(), "running", "after {moment:?} of {took:?}");
        b.delete_force().ok();
        b.assert_nothing_left();
    }
}

#[test]
fn exec_is_killed_at_40_moments() {
    let b = Bundle::idle().up();
    let alone = processes_of(&b.id).len();
    let took = measure(|| time(|| drop(b.exec(&["/bin/true"]).ok())));
    let mut moments = Moments::new(0x5eed_0006, took);
    for _ in 0..40 {
        let moment = moments.next();
        kill_after(&b, &["exec", &b.id, "/bin/true"], moment);
        let again = b.exec(&["/bin/echo", "again"]).ok();
        assert_eq!((again.stdout.as_str(), again.stderr.as_str()), ("again\n", ""));
    }
    wait_until("what was begun has ended", || processes_of(&b.id).len() == alone);
    assert_eq!(b.status(), "running");
    b.delete_force().ok();
    b.assert_nothing_left();
}

#[test]
fn delete_is_killed_at_40_moments() {
    let b = Bundle::idle();
    b.write_config();
    let run_one = || {
        b.create().ok();
        b.start().ok();
    };
    let took = measure(|| {
        run_one();
        time(|| drop(b.delete_force().ok()))
    });
    let mut moments = Moments::new(0x5eed_0007, took);
    for _ in 0..40 {
        run_one();
        kill_after(&b, &["delete", "--force", &b.id], moments.next());
        b.delete_force().ok();
        b.assert_nothing_left();
    }
}

#[test]
fn delete_of_a_stopped_one_is_killed_at_40_moments() {
    let b = Bundle::new().hook("poststop", "true");
    b.write_config();
    let stop_one = || {
        b.create().ok();
        b.start().ok();
        wait_until("it is stopped", || b.status() == "stopped");
    };
    let took = measure(|| {
        stop_one();
        time(|| drop(b.delete().ok()))
    });
    let mut moments = Moments::new(0x5eed_0008, took);
    for _ in 0..40 {
        stop_one();
        kill_after(&b, &["delete", &b.id], moments.next());
        let again = b.delete();
        if !again.status.success() {
            again.fails(1, &["container does not exist"]).one_line();
            // An empty directory may hold the id.
            b.delete_force().ok();
        }
        b.assert_nothing_left();
    }
}
