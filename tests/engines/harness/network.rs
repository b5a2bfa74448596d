//! The network of the test machine, which all engines share there.

use super::Need;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The right to make interfaces and routes in the network of the machine, or to copy them as pasta(1) does; whoever wants it, too, waits.
/// Elsewhere each engine has a network of its own, and everybody gets it.
pub struct HostNetwork(Option<MutexGuard<'static, ()>>);

impl HostNetwork {
    pub fn take() -> Self {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let lock = || ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        HostNetwork(Need::Machine.is_met().then(lock))
    }
}

impl Drop for HostNetwork {
    fn drop(&mut self) {
        if self.0.is_some() {
            // The plugins of CNI leave their bridge, whose dead route pasta can't copy.
            let _ = Command::new("ip").args(["link", "delete", "cni0"]).output();
        }
    }
}
