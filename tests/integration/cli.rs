//! The command line: what callers send, and the output that they parse.

use crate::harness::{Bundle, Need, View, requires, wait_until};
use serde_json::{Value, json};
use std::fs;

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn list_as_a_table() {
    let b = Bundle::idle().up();
    let out = b.cmd(&["list"]).ok();
    let lines: Vec<Vec<&str>> = out.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 2, "{out}");
    // crun writes other headings.
    assert_eq!(lines[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let (pid, dir) = (b.pid().to_string(), b.dir());
    assert_eq!(lines[1][..4], [&b.id, &pid, "running", dir.to_str().unwrap()]);
    assert_eq!(lines[1][4], b.state()["created"]);
    assert_eq!(lines[1][5], "root");
    // The columns begin where their headings begin.
    let status = out.stdout.find("STATUS").unwrap();
    assert_eq!(out.stdout.lines().nth(1).unwrap()[status..].split(' ').next(), Some("running"));
}

#[test]
fn list_as_json() {
    let b = Bundle::idle();
    fs::create_dir(b.state_root()).unwrap();
    assert_eq!(b.cmd(&["list", "--format", "json"]).ok().stdout.trim(), "null");
    let b = b.up();
    for format in [["-f", "json"], ["--format", "json"]] {
        let out = b.cmd(&[&["list"], &format[..]].concat()).ok();
        assert_eq!(out.stdout.trim().lines().count(), 1, "{out}");
        let mut expected = b.state();
        expected["owner"] = json!("root");
        assert_eq!(json_of(&out.stdout), json!([expected]));
    }
}

#[test]
fn list_shows_every_status() {
    let b = Bundle::idle();
    let statuses = || {
        let list = json_of(&b.cmd(&["list", "-f", "json"]).ok().stdout);
        list[0]["status"].as_str().unwrap().to_owned()
    };
    b.create().ok();
    assert_eq!(statuses(), "created");
    b.start().ok();
    assert_eq!(statuses(), "running");
    b.cmd(&["pause", &b.id]).ok();
    assert_eq!(statuses(), "paused");
    b.cmd(&["resume", &b.id]).ok();
    b.kill("KILL").ok();
    wait_until("it is stopped", || statuses() == "stopped");
    assert_eq!(json_of(&b.cmd(&["list", "-f", "json"]).ok().stdout)[0]["pid"], 0);
}

#[test]
fn list_of_ids_alone() {
    let b = Bundle::idle().up();
    for flag in ["-q", "--quiet"] {
        assert_eq!(b.cmd(&["list", flag]).ok().stdout, format!("{}\n", b.id));
    }
}

/// A host may well have more containers than a process may have files open.
#[test]
fn list_of_more_containers_than_open_files() {
    let b = Bundle::idle().up();
    let state = fs::read_to_string(b.state_root().join(&b.id).join("state.json")).unwrap();
    let mut ids = vec![b.id.clone()];
    for n in 0..40 {
        let id = format!("{}-{n}", b.id);
        let dir = b.state_root().join(&id);
        fs::create_dir(&dir).unwrap();
        fs::write(
            dir.join("state.json"),
            state.replace(&format!("\"id\":\"{}\"", b.id), &format!("\"id\":\"{id}\"")),
        )
        .unwrap();
        ids.push(id);
    }
    ids.sort();
    let b = b.prelude("ulimit -n 24");
    assert_eq!(b.cmd(&["list", "-q"]).ok().lines(), ids);
    let listed = json_of(&b.cmd(&["list", "-f", "json"]).ok().stdout);
    let listed: Vec<&str> =
        listed.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(listed, ids);
    for id in ids.iter().filter(|id| **id != b.id) {
        fs::remove_dir_all(b.state_root().join(id)).unwrap();
    }
}

#[test]
fn a_state_root_that_does_not_exist_is_an_error_of_list() {
    let b = Bundle::new();
    b.cmd(&["list"]).fails(1, &["no such file or directory"]).one_line();
    fs::create_dir(b.state_root()).unwrap();
    b.cmd(&["list", "--format", "yaml"]).fails(1, &["format"]);
}

#[test]
fn options_come_before_or_after_the_id_and_with_one_dash_or_two() {
    let (dir, forms) = (
        "BUNDLE",
        [
            ["--bundle", "BUNDLE", "ID"],
            ["-bundle", "BUNDLE", "ID"],
            ["-b", "BUNDLE", "ID"],
            ["ID", "--bundle", "BUNDLE"],
            ["ID", "-b", "BUNDLE"],
        ],
    );
    for form in forms {
        let b = Bundle::sh("echo fine");
        b.write_config();
        let path = b.dir().to_str().unwrap().to_owned();
        let words = form.map(|word| word.replace(dir, &path).replace("ID", &b.id));
        let words: Vec<&str> = ["run"].into_iter().chain(words.iter().map(String::as_str)).collect();
        assert_eq!(b.cmd(&words).ok().stdout, "fine\n", "{form:?}");
    }
    for option in ["--bundle=", "-bundle=", "-b="] {
        let b = Bundle::sh("echo fine");
        b.write_config();
        assert_eq!(
            b.cmd(&["run", &format!("{option}{}", b.dir().display()), &b.id]).ok().stdout,
            "fine\n",
            "{option}"
        );
    }
}

// runc does not know --cgroup-manager, crun not --criu.
#[test]
fn harmless_options_are_taken() {
    let b = Bundle::sh("echo fine").global("--rootless=false").global("--debug");
    let log = format!("--log={}", b.io().join("log").display());
    let b = b.global(&log).global("--log-format").global("json");
    assert_eq!(b.run_with(&["--no-subreaper", "--no-new-keyring"]).ok().stdout, "fine\n");
    // What podman passes when cgroups are disabled, and what engines pass for crun and youki.
    for options in [
        &["--cgroup-manager", "cgroupfs"][..],
        &["--cgroup-manager=cgroupfs"],
        &["--rootless", "auto"],
        &["--criu", "/usr/sbin/criu"],
    ] {
        let b = options.iter().fold(Bundle::sh("echo fine"), |b, option| b.global(option));
        assert_eq!(b.run().ok().stdout, "fine\n", "{options:?}");
    }
}

#[test]
fn the_version_is_what_engines_look_for() {
    for flag in ["--version", "-v"] {
        let out = Bundle::new().cmd(&[flag]).ok();
        let words: Vec<&str> = out.lines()[0].split(' ').collect();
        assert_eq!(words[1], "version", "{out}");
        assert!(words[2].starts_with(|c: char| c.is_ascii_digit()), "{out}");
        assert!(out.stdout.contains("\nspec: 1."), "{out}");
    }
}

#[test]
fn help_names_every_command_that_there_is() {
    let out = Bundle::new().cmd(&["--help"]).ok();
    for command in [
        "create", "delete", "exec", "features", "kill", "list", "pause", "ps", "resume", "run", "spec",
        "start", "state",
    ] {
        assert!(out.lines().iter().any(|line| line.starts_with(command)), "{command}: {out}");
        let help = Bundle::new().cmd(&[command, "--help"]).ok();
        assert!(help.stdout.contains(command), "{help}");
    }
}

#[test]
fn an_unknown_command_or_option_is_an_error() {
    let b = Bundle::new();
    assert_eq!(b.cmd(&["nosuch"]).code(), 3, "as runc");
    assert_ne!(b.cmd(&["list", "--nosuch"]).code(), 0);
    assert_ne!(b.cmd(&["state"]).code(), 0);
    assert_ne!(b.cmd(&["state", "one", "two"]).code(), 0);
}

#[test]
fn an_error_is_one_json_line_in_the_log_and_one_line_on_stderr() {
    let b = Bundle::new();
    let log = b.io().join("log.json");
    fs::write(&log, "kept\n").unwrap();
    let b = b.global("--log").global(log.to_str().unwrap()).global("--log-format").global("json");
    b.cmd(&["state", "nope"]).fails(1, &["container does not exist"]).one_line();
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "kept"), "appended: {text}");
    let entry = json_of(lines[1]);
    assert_eq!(entry["level"], "error");
    assert!(entry["msg"].as_str().unwrap().contains("container does not exist"), "{entry}");
    let time = entry["time"].as_str().unwrap();
    assert!(time.len() >= 20 && time.as_bytes()[10] == b'T', "{time}");
}

#[test]
fn what_cannot_be_parsed_is_in_the_log_too() {
    for args in [&["create", "--nosuch"][..], &["state"], &["nosuch"], &["list", "--format", "yaml"]] {
        let b = Bundle::new();
        let log = b.io().join("log.json");
        let b = b.global("--log").global(log.to_str().unwrap()).global("-log-format=json");
        let out = b.cmd(args).one_line();
        assert_ne!(out.code(), 0, "{out}");
        let text = fs::read_to_string(&log).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let entry = json_of(&text);
        assert_eq!(entry["level"], "error");
        assert_eq!(format!("error: {}\n", entry["msg"].as_str().unwrap()), out.stderr);
    }
}

// Where nobody reads what is printed, the exit code is still the command's.
#[test]
fn output_that_nobody_takes_is_no_failure() {
    requires!(Need::File("/dev/full"));
    let code = |args: &[&str]| Bundle::new().prelude("exec >/dev/full 2>/dev/full").cmd(args).code();
    assert_eq!(code(&["state", "nope"]), 1);
    assert_eq!(code(&["exec", "nope", "true"]), 255);
    assert_eq!(code(&["nosuch"]), 3);
    assert_eq!(code(&["--help"]), 0);
    assert_eq!(code(&["features"]), 0);
}

#[test]
fn a_failed_create_logs_one_line_too() {
    let b = Bundle::new().args(["nosuch"]).set("/process/oomScoreAdj", 100);
    let log = b.io().join("log.json");
    let b = b.global("--log").global(log.to_str().unwrap()).global("--log-format=json");
    b.create().fails(1, &["executable file not found in $PATH"]).one_line();
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(json_of(&text)["msg"].as_str().unwrap().contains("executable file not found in $PATH"), "{text}");
}

#[test]
fn the_text_log_names_level_and_message() {
    let b = Bundle::new();
    let log = b.io().join("log.txt");
    let b = b.global("--log").global(log.to_str().unwrap());
    b.cmd(&["state", "nope"]).fails(1, &[]);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("level=error") && text.contains("container does not exist"), "{text}");
}

#[test]
fn success_logs_nothing() {
    let b = Bundle::sh("echo fine");
    let log = b.io().join("log.json");
    let b = b.global("--log").global(log.to_str().unwrap()).global("--log-format=json");
    let out = b.run().ok();
    assert_eq!(out.stderr, "");
    assert_eq!(fs::read_to_string(&log).unwrap_or_default(), "");
}

#[test]
fn spec_writes_a_configuration_that_runs() {
    let b = Bundle::new();
    b.cmd(&["spec", "--bundle", b.dir().to_str().unwrap()]).ok();
    let path = b.dir().join("config.json");
    let mut config = json_of(&fs::read_to_string(&path).unwrap());
    assert_eq!(config["process"]["terminal"], true);
    assert_eq!(config["process"]["args"], json!(["sh"]));
    assert_eq!(config["root"], json!({"path": "rootfs", "readonly": true}));
    // CVE-2015-3630: what of /proc may not be seen or written.
    for path in [
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/acpi",
        "/proc/asound",
        "/sys/firmware",
    ] {
        assert!(config["linux"]["maskedPaths"].as_array().unwrap().contains(&json!(path)), "{path}");
    }
    for path in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"] {
        assert!(config["linux"]["readonlyPaths"].as_array().unwrap().contains(&json!(path)), "{path}");
    }
    b.cmd(&["spec", "--bundle", b.dir().to_str().unwrap()]).fails(1, &["exists"]);

    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["sh", "-c", "echo fine; id -u"]);
    config["linux"]["cgroupsPath"] = json!(b.cgroup());
    fs::write(&path, config.to_string()).unwrap();
    assert_eq!(b.cmd(&b.with_bundle("run", &[])).ok().lines(), ["fine", "0"]);
    b.assert_nothing_left();
}

#[test]
fn spec_has_a_cgroup_namespace_with_version_2_only() {
    requires!(Need::CgroupV1, Need::CgroupV2);
    for view in [View::V1, View::V2] {
        let b = Bundle::new().view(view);
        b.cmd(&["spec", "--bundle", b.dir().to_str().unwrap()]).ok();
        let config = json_of(&fs::read_to_string(b.dir().join("config.json")).unwrap());
        let namespaces = config["linux"]["namespaces"].as_array().unwrap();
        assert_eq!(
            namespaces.contains(&json!({"type": "cgroup"})),
            view == View::V2,
            "{view:?}: {namespaces:?}"
        );
    }
}

#[test]
fn spec_rootless_maps_the_user() {
    requires!(Need::UserNamespace);
    let b = Bundle::new();
    b.cmd(&["spec", "--rootless", "-b", b.dir().to_str().unwrap()]).ok();
    let config = json_of(&fs::read_to_string(b.dir().join("config.json")).unwrap());
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    assert_eq!((&config["linux"]["uidMappings"], &config["linux"]["gidMappings"]), (&map, &map));
    let kinds: Vec<&str> = config["linux"]["namespaces"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|ns| ns["type"].as_str())
        .collect();
    assert!(kinds.contains(&"user") && !kinds.contains(&"network"), "{kinds:?}");
}

#[test]
fn features_tell_engines_what_they_ask_for() {
    let features = json_of(&Bundle::new().cmd(&["features"]).ok().stdout);
    for key in ["ociVersionMin", "ociVersionMax"] {
        assert!(features[key].as_str().unwrap().starts_with("1."), "{key}");
    }
    let has = |pointer: &str, value: &str| {
        features.pointer(pointer).unwrap().as_array().unwrap().contains(&json!(value))
    };
    for kind in ["pid", "mount", "network", "ipc", "uts", "user", "cgroup", "time"] {
        assert!(has("/linux/namespaces", kind), "{kind}");
    }
    for hook in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        assert!(has("/hooks", hook), "{hook}");
    }
    for option in ["ro", "rro", "rbind", "rslave", "tmpcopyup", "nosymfollow", "rnosymfollow", "lazytime"] {
        assert!(has("/mountOptions", option), "{option}");
    }
    assert!(has("/linux/capabilities", "CAP_SYS_ADMIN"));
    assert_eq!(features["linux"]["cgroup"]["v1"], true);
    assert_eq!(features["linux"]["cgroup"]["v2"], true);
}

// runc and crun fail with some of their own.
#[test]
fn every_mount_option_that_features_names_is_taken() {
    let features = json_of(&Bundle::new().cmd(&["features"]).ok().stdout);
    let options: Vec<String> =
        features["mountOptions"].as_array().unwrap().iter().map(|o| o.as_str().unwrap().to_owned()).collect();
    let needs_more = ["idmap", "ridmap", "remount", "tmpcopyup", "acl", "dest-nofollow"];
    let b = Bundle::sh("grep -c ' /m/' /proc/self/mountinfo");
    fs::create_dir(b.io().join("source")).unwrap();
    let source = b.io().join("source").to_str().unwrap().to_owned();
    let options: Vec<&String> = options.iter().filter(|o| !needs_more.contains(&o.as_str())).collect();
    assert!(options.len() > 40, "{options:?}");
    let b = options
        .iter()
        .fold(b, |b, option| b.mount(&format!("/m/{option}"), "bind", &source, &["bind", option]));
    assert_eq!(b.run().ok().stdout.trim(), options.len().to_string());
}

#[test]
fn another_file_of_the_bundle_may_describe_it() {
    let b = Bundle::idle();
    b.write_config();
    let dir = b.dir().to_str().unwrap().to_owned();
    fs::create_dir(b.dir().join("below")).unwrap();
    fs::rename(b.dir().join("config.json"), b.dir().join("below/other.json")).unwrap();
    b.cmd(&["create", "--bundle", &dir, &b.id]).fails(1, &["/bundle/config.json", "ENOENT"]).one_line();
    b.cmd(&["create", "--bundle", &dir, "--config", "below/other.json", &b.id]).ok();
    b.start().ok();
    assert_eq!(b.exec(&["echo", "inside"]).ok().stdout, "inside\n");
    assert_eq!(b.state()["bundle"], dir.as_str());
    b.delete_force().ok();
    fs::write(b.dir().join("below/other.json"), "{}").unwrap();
    let out = b.cmd(&["run", "-f", "below/other.json", "-b", &dir, &b.id]);
    out.fails(1, &["below/other.json: ociVersion: missing"]).one_line();
    fs::remove_dir_all(b.dir().join("below")).unwrap();
    b.assert_nothing_left();
}
