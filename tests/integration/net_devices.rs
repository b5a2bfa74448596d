//! Network devices that move into the container. Each test has a network namespace of its own for the runtime, which is the host's
//! to the container; the devices are veth pairs and macvlans, which every kernel of the floor has.

use crate::harness::{Bundle, Output, wait_until};
use serde_json::json;
use std::process::{Command, Stdio};

/// A network namespace that lives as long as this process in it.
struct Net(std::process::Child);

impl Net {
    /// A new one with these devices, made by `ip` with these words.
    fn new(commands: &[&str]) -> Self {
        let sleep = Command::new("unshare").args(["--net", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
        let net = Net(sleep);
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        wait_until("a network namespace", || std::fs::read_link(net.path()).is_ok_and(|link| link != own));
        for command in commands {
            let words: Vec<&str> = [&["ip"][..], &command.split(' ').collect::<Vec<_>>()].concat();
            let output = net.output(&words);
            assert!(output.0, "ip {command}: {}", output.1);
        }
        net
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// Runs a command in it: whether it succeeded, and its output.
    fn output(&self, words: &[&str]) -> (bool, String) {
        let net = format!("--net={}", self.path());
        let output = Command::new("nsenter").arg(net).args(words).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into())
    }

    /// What `ip -o addr` says of a device; `None` if there is no such device.
    fn addresses(&self, device: &str) -> Option<String> {
        let (found, text) = self.output(&["ip", "-o", "addr", "show", "dev", device]);
        found.then_some(text)
    }

    fn is_up(&self, device: &str) -> bool {
        self.output(&["ip", "link", "show", "dev", device]).1.contains(",UP")
    }

    /// A command of the runtime with this namespace in the host's place.
    fn runtime(&self, b: &Bundle, verb: &str) -> Output {
        b.write_config();
        let inner = b.command(&b.with_bundle(verb, &[]));
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg(inner.get_program()).args(inner.get_args());
        let variables = inner.get_envs().filter_map(|(name, value)| Some((name, value?)));
        command
            .env_clear()
            .envs(variables)
            .current_dir(inner.get_current_dir().unwrap())
            .stdin(Stdio::null());
        b.spawn_command(command).wait()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Prints the container's devices: `NAME STATE ADDRESSES`.
const SHOW: &str = "for d in $(ls /sys/class/net); do echo \"$d: flags $(cat /sys/class/net/$d/flags) mtu $(cat \
                    /sys/class/net/$d/mtu) mac $(cat /sys/class/net/$d/address)\"; done; ip -o addr";

fn with(devices: serde_json::Value) -> Bundle {
    let sysfs = json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]});
    Bundle::sh(SHOW).push("/mounts", sysfs).set("/linux/netDevices", devices)
}

const VETH: [&str; 5] = [
    "link add veth-a mtu 1380 address 02:00:00:00:00:aa type veth peer name veth-b",
    "addr add 192.0.2.7/24 dev veth-a",
    "addr add 2001:db8::7/64 dev veth-a nodad",
    "addr add 169.254.3.3/16 scope link dev veth-a",
    "link set veth-a up",
];

fn show<'a>(out: &'a Output, device: &str) -> &'a str {
    out.field(&format!("{device}: "))
}

#[test]
fn a_device_moves_with_its_global_addresses_and_is_up() {
    let net = Net::new(&VETH);
    let out = net.runtime(&with(json!({"veth-a": {}})), "run").ok();
    let line = show(&out, "veth-a");
    let flags = line.split(' ').nth(1).unwrap().trim_start_matches("0x");
    assert_eq!(u32::from_str_radix(flags, 16).unwrap() & 1, 1, "up: {line}");
    assert!(line.contains("mtu 1380 mac 02:00:00:00:00:aa"), "{line}");
    assert!(out.stdout.contains("inet 192.0.2.7/24"), "{out}");
    assert!(out.stdout.contains("inet6 2001:db8::7/64"), "{out}");
    assert!(!out.stdout.contains("169.254.3.3"), "not global: {out}");
    assert_eq!(net.addresses("veth-a"), None, "the kernel deletes it with the container's namespace");
}

#[test]
fn a_device_that_was_down_is_up_in_the_container() {
    let net = Net::new(&VETH[..1]);
    let out = net.runtime(&with(json!({"veth-a": {}})), "run").ok();
    assert_eq!(show(&out, "veth-a").split(' ').nth(1), Some("0x1003"), "{out}");
}

#[test]
fn a_device_gets_its_new_name() {
    let net = Net::new(&[&VETH[..], &["link add link veth-b name mac-0 type macvlan mode bridge"]].concat());
    let out = net.runtime(&with(json!({"veth-a": {"name": "eth0"}, "mac-0": {"name": "eth1"}})), "run").ok();
    assert!(show(&out, "eth0").contains("mac 02:00:00:00:00:aa"), "{out}");
    assert!(show(&out, "eth1").contains("mtu 1500") || show(&out, "eth1").contains("mtu 1380"), "{out}");
    assert!(!out.stdout.contains("veth-a") && !out.stdout.contains("mac-0:"), "{out}");
    assert!(out.stdout.contains("inet 192.0.2.7/24"), "{out}");
}

#[test]
fn two_devices_exchange_their_names() {
    let net = Net::new(&[VETH[0]]);
    let out =
        net.runtime(&with(json!({"veth-a": {"name": "veth-b"}, "veth-b": {"name": "veth-a"}})), "run").ok();
    assert!(show(&out, "veth-b").contains("mac 02:00:00:00:00:aa"), "{out}");
}

#[test]
fn a_template_takes_the_first_free_number() {
    let net = Net::new(&["link add one type veth peer name two"]);
    let out = net.runtime(&with(json!({"one": {"name": "eth%d"}, "two": {"name": "eth%d"}})), "run").ok();
    assert!(out.lines().iter().any(|line| line.starts_with("eth0: ")), "{out}");
    assert!(out.lines().iter().any(|line| line.starts_with("eth1: ")), "{out}");
}

#[test]
fn a_device_moves_into_a_new_user_namespace() {
    let net = Net::new(&VETH);
    let out = net.runtime(&with(json!({"veth-a": {"name": "eth0"}})).user_namespace(), "run").ok();
    assert!(out.stdout.contains("inet 192.0.2.7/24"), "{out}");
    assert!(out.stdout.contains("inet6 2001:db8::7/64"), "{out}");
}

#[test]
fn a_device_moves_into_a_joined_namespace_and_stays_there() {
    let net = Net::new(&VETH);
    let pod = Net::new(&["link add veth-a type veth peer name other"]);
    let b = with(json!({"veth-a": {"name": "eth0"}})).join("network", pod.path());
    let out = net.runtime(&b, "run").ok();
    assert!(show(&out, "eth0").contains("mac 02:00:00:00:00:aa"), "{out}");
    assert!(pod.addresses("eth0").unwrap().contains("192.0.2.7/24"));
    assert_eq!(net.addresses("eth0"), None);
}

#[test]
fn a_taken_name_is_an_error_and_the_device_stays() {
    let net = Net::new(&VETH);
    let pod = Net::new(&["link add eth0 type veth peer name other"]);
    let before = net.addresses("veth-a").unwrap();
    let b = with(json!({"veth-a": {"name": "eth0"}})).join("network", pod.path());
    net.runtime(&b, "create").fails(
        1,
        &["linux.netDevices.veth-a.name: the container's network namespace has a device eth0 already"],
    );
    assert_eq!(net.addresses("veth-a").unwrap(), before);
}

// The second device can't be moved, so that the first one has to come back.
#[test]
fn a_failed_creation_brings_the_devices_back() {
    let net = Net::new(&[&VETH[..], &["link set lo up"]].concat());
    // A link-local address is the kernel's own, and is made anew.
    let given = |net: &Net| {
        let text = net.addresses("veth-a").unwrap();
        let words =
            text.lines().map(|line| line.split_whitespace().skip(1).take(3).collect::<Vec<_>>().join(" "));
        let mut words: Vec<_> = words.filter(|line| !line.contains("fe80")).collect();
        words.sort();
        words
    };
    let before = given(&net);
    let b = with(json!({"veth-a": {"name": "eth0"}, "zz": {}}));
    net.runtime(&b, "create")
        .fails(1, &["linux.netDevices.zz: the runtime's network namespace has no device zz"]);
    assert_eq!(given(&net), before);
    assert!(net.is_up("veth-a"));

    // The same when a later step fails.
    let b = with(json!({"veth-a": {"name": "eth0"}})).hook("createContainer", "exit 3");
    net.runtime(&b, "create").fails(1, &["hooks.createContainer[0]"]);
    assert_eq!(given(&net), before);
    assert!(net.is_up("veth-a"));
}

#[test]
fn a_device_that_was_down_comes_back_down() {
    let net = Net::new(&VETH[..1]);
    let b = with(json!({"veth-a": {}})).hook("createContainer", "exit 3");
    net.runtime(&b, "create").fails(1, &["hooks.createContainer[0]"]);
    assert!(net.addresses("veth-a").is_some());
    assert!(!net.is_up("veth-a"));
}

#[test]
fn what_the_kernel_does_not_move_is_an_error() {
    let net = Net::new(&["link set lo up"]);
    let b = with(json!({"lo": {"name": "lo1"}}));
    net.runtime(&b, "create")
        .fails(1, &["linux.netDevices.lo: RTM_NEWLINK(lo, IFLA_NET_NS_FD, IFLA_IFNAME lo1)"]);
}

#[test]
fn without_a_network_namespace_nothing_moves() {
    let net = Net::new(&VETH);
    let b = with(json!({"veth-a": {}})).without_namespace("network");
    net.runtime(&b, "create")
        .fails(1, &["linux.netDevices: the container has no network namespace of its own"]);
    let own = with(json!({"veth-a": {}})).join("network", net.path());
    net.runtime(&own, "create")
        .fails(1, &["linux.netDevices: the network namespace to join is the host's own"]);
    assert!(net.is_up("veth-a"));
}

#[test]
fn the_loopback_device_of_a_new_namespace_is_up() {
    let out =
        Bundle::sh("ip -o addr show dev lo; ping -c 1 -w 5 127.0.0.1 >/dev/null && echo answered").run().ok();
    assert!(out.stdout.contains("inet 127.0.0.1/8"), "{out}");
    assert!(out.stdout.contains("answered"), "{out}");
}
