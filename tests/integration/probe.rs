//! What a busybox script cannot see or do, done by this very executable inside the container: it is static,
//! so a copy of it runs in any root file system.

use crate::harness::Bundle;
use std::os::unix::net::UnixDatagram;

impl Bundle {
    /// The container runs the probe of this name (see [`probe`]); what libtest prints goes before its output.
    pub fn probe(self, name: &str) -> Self {
        let probe = self.rootfs().join("bin/probe");
        std::fs::copy(std::env::current_exe().unwrap(), probe).unwrap();
        self.env(&format!("PROBE={name}")).args(["/bin/probe", "--exact", "probe::probe", "--nocapture"])
    }
}

/// Does nothing unless it runs as a container's process.
#[test]
fn probe() {
    match std::env::var("PROBE").as_deref() {
        Ok("notify") => notify(b"READY=1\n"),
        Ok("notify-late") => notify(b"STATUS=up\nREADY=1\n"),
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
