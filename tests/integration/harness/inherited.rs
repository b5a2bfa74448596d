//! What the tests' own caller has left open.

use std::sync::Once;

/// Keeps it from all that is started from now on, whose own caller the tests are: flock(1), for one, leaves its descriptor
/// open, and a runtime would find it where `--preserve-fds` looks.
pub fn pass_nothing_on() {
    static AT_THE_BEGINNING: Once = Once::new();
    AT_THE_BEGINNING.call_once(|| {
        // SAFETY: takes three numbers, and closes nothing in this process.
        let ret = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        assert_eq!(ret, 0, "close_range: {}", std::io::Error::last_os_error());
    });
}
