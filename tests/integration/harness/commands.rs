//! The runtime's commands on a bundle, each with a deadline.

use super::bundle::Bundle;
use super::output::Output;
use super::running::{Running, line, wait, wait_until};
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// No command of a runtime, and nothing that a test waits for, may take longer. `DEADLINE` may say other seconds, for
/// a machine that is slow.
pub(super) fn deadline() -> Duration {
    let seconds = std::env::var("DEADLINE").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(90))
}

/// The runtime under test: `RUNTIME`, or the one that cargo has built.
pub fn runtime() -> PathBuf {
    let built = option_env!("CARGO_BIN_EXE_orlop").map(PathBuf::from);
    std::env::var_os("RUNTIME").map(PathBuf::from).or(built).expect("set RUNTIME to a runtime's path")
}

impl Bundle {
    /// The command line of the runtime with `--root` and the options given by [`Self::global`].
    pub fn command<S: AsRef<str>>(&self, args: &[S]) -> Command {
        self.clean.set(false);
        let runtime = runtime();
        let prelude: Vec<String> = self.view.prelude().into_iter().chain(self.prelude.clone()).collect();
        let mut command = if prelude.is_empty() {
            Command::new(&runtime)
        } else {
            let script = format!("{}\nexec \"$@\"", prelude.join("\n"));
            let mut unshare = Command::new("unshare");
            unshare.args(["--mount", "--propagation", "private", "sh", "-euc", &script, "sh"]);
            unshare.arg(&runtime);
            unshare
        };
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        command.env_clear().env("PATH", path).current_dir(&self.base);
        command.env("BASE", &self.base).env("BUNDLE", self.dir()).env("ROOTFS", self.rootfs());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.arg("--root").arg(self.state_root()).args(&self.globals);
        command.args(args.iter().map(AsRef::as_ref)).stdin(Stdio::null());
        command
    }

    /// Starts a command; its output goes to files, so that a container that keeps them open holds nobody up.
    pub fn spawn<S: AsRef<str>>(&self, args: &[S]) -> Running {
        self.spawn_command(self.command(args))
    }

    /// Starts any command with its output in files of this bundle.
    pub fn spawn_command(&self, mut command: Command) -> Running {
        self.clean.set(false);
        let number = self.commands.replace(self.commands.get() + 1);
        let open = |kind: &str| {
            let path = self.io().join(format!("{number}.{kind}"));
            (OpenOptions::new().create_new(true).append(true).open(&path).unwrap(), path)
        };
        let ((stdout, out_path), (stderr, err_path)) = (open("stdout"), open("stderr"));
        command.stdout(stdout).stderr(stderr);
        Running::start(&line(&command), command, out_path, err_path)
    }

    /// Runs any command of the runtime to its end.
    pub fn cmd<S: AsRef<str>>(&self, args: &[S]) -> Output {
        self.spawn(args).wait()
    }

    /// `run ID`, attached.
    pub fn run(&self) -> Output {
        self.run_with(&[])
    }

    /// `run` with these options.
    pub fn run_with(&self, options: &[&str]) -> Output {
        self.spawn_run(options).wait()
    }

    /// `run` with these options, not waited for.
    pub fn spawn_run(&self, options: &[&str]) -> Running {
        self.write_config();
        self.spawn(&self.with_bundle("run", options))
    }

    /// `create ID`. The container's own output is what the answer's files will hold: see [`Self::logs`].
    pub fn create(&self) -> Output {
        self.create_with(&[])
    }

    /// `create` with these options.
    pub fn create_with(&self, options: &[&str]) -> Output {
        self.write_config();
        self.cmd(&self.with_bundle("create", options))
    }

    /// The arguments of `create` or `run` on this bundle.
    pub fn with_bundle<'a>(&'a self, verb: &'a str, options: &[&'a str]) -> Vec<String> {
        let dir = self.dir().to_str().unwrap().to_owned();
        let words =
            [verb, "--bundle", &dir].into_iter().chain(options.iter().copied()).chain([self.id.as_str()]);
        words.map(String::from).collect()
    }

    /// What the container has written so far to the stdout it got from command number `command` (from 0).
    pub fn logs(&self, command: u32) -> String {
        fs::read_to_string(self.io().join(format!("{command}.stdout"))).unwrap_or_default()
    }

    pub fn start(&self) -> Output {
        self.cmd(&["start", &self.id])
    }

    /// `create`, `start`, and the wait for `ready` on its stdout; for a bundle without commands so far.
    #[track_caller]
    pub fn up(self) -> Self {
        let command = self.commands.get();
        self.create().ok();
        self.start().ok();
        wait_until("the container says ready", || self.logs(command).contains("ready"));
        self
    }

    /// The parsed answer of `state`.
    #[track_caller]
    pub fn state(&self) -> Value {
        let output = self.cmd(&["state", &self.id]).ok();
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
    }

    /// The status that `state` tells.
    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    /// The pid of init on the host.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        self.state()["pid"].as_i64().unwrap().try_into().unwrap()
    }

    pub fn kill(&self, signal: &str) -> Output {
        self.cmd(&["kill", &self.id, signal])
    }

    pub fn delete(&self) -> Output {
        self.cmd(&["delete", &self.id])
    }

    pub fn delete_force(&self) -> Output {
        self.cmd(&["delete", "--force", &self.id])
    }

    /// `exec ID args`.
    pub fn exec(&self, args: &[&str]) -> Output {
        self.exec_with(&[], args)
    }

    /// `exec` with options.
    pub fn exec_with(&self, options: &[&str], args: &[&str]) -> Output {
        let words = [&["exec"], options, &[self.id.as_str()], args].concat();
        self.cmd(&words)
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if fs::read_dir(self.state_root()).is_ok_and(|mut entries| entries.next().is_some()) {
            let mut command = self.command(&["delete", "--force", &self.id]);
            if let Ok(mut child) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
                && wait(&mut child, deadline() / 3).is_none()
            {
                let _ = child.kill().and_then(|()| child.wait());
            }
        }
        super::leftovers::remove(&self.id, &self.base, self.clean.get());
    }
}
