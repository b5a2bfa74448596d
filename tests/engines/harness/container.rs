//! Containers of engines whose command lines have the same words.

use super::output::Output;
use super::running::wait_until;
use super::world::World;
use std::marker::PhantomData;

/// Docker, Podman.
pub trait Engine {
    /// The command.
    const NAME: &'static str;
    /// What removes a container at once.
    const REMOVE: &'static str;
    /// Its world.
    fn world() -> &'static World;
}

/// A command line of the engine.
pub fn command<E: Engine>(args: &str) -> Output {
    E::world().sh(&format!("{} {args}", E::NAME))
}

/// `run --rm` of a shell script, with options and without a network.
pub fn run<E: Engine>(options: &str, script: &str) -> Output {
    command::<E>(&format!("run --rm --network none {options} bb:1 sh -c '{script}'"))
}

/// A container in the background.
pub struct Container<E: Engine> {
    pub name: &'static str,
    pub id: String,
    engine: PhantomData<E>,
}

impl<E: Engine> Container<E> {
    /// One that has said `started`, with both of its processes, and runs until it gets SIGTERM, on which it says `bye` and exits with 4.
    pub fn up(name: &'static str, options: &str) -> Self {
        let script =
            "trap \"echo bye; exit 4\" TERM; sleep 300 & echo started; while :; do wait; sleep 300 & done";
        let c = Self::of(name, &format!("--network none {options}"), script);
        c.says("started");
        c
    }

    /// One that runs a shell script.
    pub fn of(name: &'static str, options: &str, script: &str) -> Self {
        let out = command::<E>(&format!("run -d --name {name} {options} bb:1 sh -c '{script}'")).ok();
        Container { name, id: out.stdout.trim().to_owned(), engine: PhantomData }
    }

    /// One that is there.
    pub fn named(name: &'static str) -> Self {
        let out = command::<E>(&format!("inspect --format '{{{{.Id}}}}' {name}")).ok();
        Container { name, id: out.stdout.trim().to_owned(), engine: PhantomData }
    }

    /// Runs a command of the engine on it: the words before its name, and those after it.
    pub fn cmd(&self, before: &str, after: &str) -> Output {
        command::<E>(&format!("{before} {} {after}", self.name))
    }

    pub fn inspect(&self, what: &str) -> String {
        self.cmd(&format!("inspect --format '{{{{{what}}}}}'"), "").ok().stdout.trim().to_owned()
    }

    /// Waits until it has said this.
    #[track_caller]
    pub fn says(&self, text: &str) {
        wait_until(text, || self.cmd("logs", "").stdout.contains(text));
    }

    /// A process whose parent has ended is the first one's, which waits for it when it ends.
    #[track_caller]
    pub fn assert_reaps(&self) {
        let out = self.cmd("exec", "sh -c 'sleep 300 >/dev/null 2>&1 & echo $!'").ok();
        let orphan = out.stdout.trim();
        let adopted = || self.cmd("exec", &format!("cat /proc/{orphan}/status")).ok().field("PPid:") == "1";
        wait_until("the first process is its parent", adopted);
        self.cmd("exec", &format!("kill {orphan}")).ok();
        wait_until("it is gone", || !self.cmd("exec", &format!("test -e /proc/{orphan}")).status.success());
        wait_until("there are no zombies", || !self.cmd("exec", "ps -o stat").ok().stdout.contains('Z'));
    }

    /// Removes it; nothing of it is left.
    #[track_caller]
    pub fn remove(self) {
        self.cmd(E::REMOVE, "").ok();
        E::world().assert_nothing_left(&self.id);
    }
}

/// `run --rm` that succeeds: the container is nowhere afterwards.
#[track_caller]
pub fn check_removal<E: Engine>() {
    let out = command::<E>("run --rm --name gone --network none bb:1 hostname").ok();
    // The name that it has for itself is the beginning of its id.
    let id = out.stdout.trim();
    assert!(id.len() == 12 && out.stderr.is_empty(), "{out}");
    assert!(command::<E>(&format!("container inspect {id}")).code() != 0);
    E::world().assert_nothing_left(id);
}

/// A terminal is one for the container, and follows its size.
pub fn check_terminal<E: Engine>() {
    let script = "tty; echo ready; while [ \"$(stty size)\" != \"33 99\" ]; do sleep 0.1; done; exit 6";
    let line = format!("{} run --rm -it --network none bb:1 sh -c '{script}'", E::NAME);
    let (command, mut terminal) = E::world().spawn_on_terminal(&line);
    assert!(terminal.read_until("ready").contains("/dev/pts/0"));
    assert_eq!(command.wait_while(|| terminal.resize_again(33, 99)).code(), 6);
}

/// So is one for a further process.
pub fn check_exec_terminal<E: Engine>() {
    let c = Container::<E>::up("exectty", "");
    let (command, mut terminal) = E::world().spawn_on_terminal(&format!("{} exec -it exectty sh", E::NAME));
    terminal.write("tty; until [ \"$(stty size)\" = '24 80' ]; do sleep 0.1; done; echo $((40 + 2))\n");
    assert!(terminal.read_until("42").contains("/dev/pts/"));
    terminal.write("while [ \"$(stty size)\" != '33 99' ]; do sleep 0.1; done; exit 5\n");
    assert_eq!(command.wait_while(|| terminal.resize_again(33, 99)).code(), 5);
    c.remove();
}

/// Whoever is at the terminal may go by ctrl-p ctrl-q, and the container stays; another one comes to it.
pub fn check_detaching<E: Engine>() {
    let line = format!("{} run -it --name keys --network none bb:1 sh", E::NAME);
    let (command, mut terminal) = E::world().spawn_on_terminal(&line);
    terminal.write("here=$((40 + 2)); echo first $here\n");
    terminal.read_until("first 42");
    // Podman knows a key if it comes alone, as it does from a keyboard.
    terminal.write("\x10");
    terminal.wait_until_read();
    terminal.write("\x11");
    assert_eq!(command.wait().code(), 0);

    let c = Container::<E>::named("keys");
    assert_eq!(c.inspect(".State.Status"), "running");
    let (command, mut terminal) = E::world().spawn_on_terminal(&format!("{} attach keys", E::NAME));
    terminal.write("echo second $here; exit 5\n");
    terminal.read_until("second 42");
    // The code of its own end is the engine's affair, and 0 of some.
    command.wait();
    wait_until("it exits", || c.inspect(".State.Status") == "exited");
    assert_eq!(c.inspect(".State.ExitCode"), "5");
    c.remove();
}
