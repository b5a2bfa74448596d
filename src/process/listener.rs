//! Hands the notification descriptor of a seccomp filter on to the program that answers for the container
//! ([config-linux.md, The Container Process State](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config-linux.md#containerprocessstate)).

use crate::error::{Context, Result};
use crate::plan::seccomp::ListenerSocket;
use crate::sys::socket;
use serde_json::json;
use std::os::fd::{AsFd, BorrowedFd};

/// Sends the descriptor, and what it belongs to: the process `pid` of the container whose state is given.
pub fn hand_on(to: &ListenerSocket, fd: BorrowedFd, pid: i32, state: &serde_json::Value) -> Result<()> {
    let message = json!({
        "ociVersion": state["ociVersion"],
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": to.metadata.as_deref().unwrap_or_default(),
        "state": state,
    });
    let field = || "linux.seccomp.listenerPath".to_owned();
    let socket = socket::connect_stream(&to.path).field(field);
    let socket = socket.doing(|| "failed to connect with seccomp agent".into())?;
    socket::send(socket.as_fd(), message.to_string().as_bytes(), &[fd]).field(field)
}
