//! Shares of caches and memory bandwidth. Few machines have resctrl, so a directory stands in for it: each command of the runtime sees
//! it in its mountinfo. The kernel would make the files of a group and remove them with it; here writing makes them, and the test
//! removes them.

use crate::harness::Bundle;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

const FAKE: &str = "mkdir -p $BASE/resctrl/info $BASE/resctrl/mon_groups
    { cat /proc/$$/mountinfo; echo \"9999 1 0:99 / $BASE/resctrl rw - resctrl resctrl rw\"; } >$BASE/mountinfo
    mount --bind $BASE/mountinfo /proc/$$/mountinfo";

fn tree(b: &Bundle) -> PathBuf {
    b.dir().parent().unwrap().join("resctrl")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn empty(group: &Path) {
    for file in ["tasks", "schemata"] {
        let _ = fs::remove_file(group.join(file));
    }
    let _ = fs::remove_dir(group.join("mon_groups"));
}

#[test]
fn a_container_gets_a_class_of_its_own() {
    let b = Bundle::idle()
        .prelude(FAKE)
        .set("/linux/intelRdt", json!({"l3CacheSchema": "L3:0=7f0;1=1f", "memBwSchema": "MB:0=20;1=70"}));
    let b = b.up();
    let group = tree(&b).join(&b.id);
    // In a real file system each line adds to the others; here the last one is what is left.
    assert_eq!(read(&group.join("schemata")), "MB:0=20;1=70\n");
    assert_eq!(read(&group.join("tasks")), b.pid().to_string());
    b.exec(&["true"]).ok();
    assert_ne!(read(&group.join("tasks")), b.pid().to_string(), "a further process enters too");
    empty(&group);
    b.delete_force().ok();
    assert!(!group.exists());
}

#[test]
fn update_writes_other_schemata() {
    let b = Bundle::idle().prelude(FAKE).set("/linux/intelRdt", json!({"l3CacheSchema": "L3:0=7f0"})).up();
    let group = tree(&b).join(&b.id);
    b.cmd(&["update", "--l3-cache-schema", "L3:0=f", &b.id]).ok();
    assert_eq!(read(&group.join("schemata")), "L3:0=f\n");
    b.cmd(&["update", "--mem-bw-schema", "MB:0=20", &b.id]).ok();
    assert_eq!(read(&group.join("schemata")), "MB:0=20\n");
    let record = fs::read_to_string(b.state_root().join(&b.id).join("config.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["linux"]["intelRdt"], json!({"l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20"}));
    let wrong = ["update", "--mem-bw-schema", "L3:0=1", &b.id];
    b.cmd(&wrong).fails(1, &["linux.intelRdt.memBwSchema", "does not begin with MB:"]);
    empty(&group);
}

#[test]
fn schemata_are_written_last() {
    let schemata = json!({"closID": "gold", "schemata": ["L2:0=f", "L3:0=3"], "memBwSchema": "MB:0=20"});
    let b = Bundle::idle().prelude(FAKE).set("/linux/intelRdt", schemata);
    b.create().ok();
    let group = tree(&b).join("gold");
    assert_eq!(read(&group.join("schemata")), "L3:0=3\n");
    assert_eq!(read(&group.join("tasks")), b.pid().to_string());
    b.delete_force().ok();
    assert!(group.join("tasks").exists(), "a named class stays");
}

#[test]
fn a_container_is_monitored() {
    let b = Bundle::idle().prelude(FAKE);
    let b = b.set("/linux/intelRdt", json!({"closID": "/", "enableMonitoring": true}));
    b.create().ok();
    let group = tree(&b).join("mon_groups").join(&b.id);
    let pid = b.pid().to_string();
    assert_eq!((read(&group.join("tasks")), read(&tree(&b).join("tasks"))), (pid.clone(), pid));
    assert!(!tree(&b).join("schemata").exists(), "no schemata were asked for");
    empty(&group);
    b.delete_force().ok();
    assert!(!group.exists());
}

#[test]
fn a_class_that_does_not_exist_is_an_error_that_names_it() {
    let b = Bundle::idle().prelude(FAKE).set("/linux/intelRdt", json!({"closID": "gold"}));
    b.create().fails(1, &["linux.intelRdt.closID: ", "gold does not exist"]).one_line();
    assert!(!tree(&b).join("gold").exists());
}

#[test]
fn without_resctrl_it_is_an_error() {
    if fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - resctrl ") {
        eprintln!("skipped: needs a host without resctrl");
        return;
    }
    let b = Bundle::idle().set("/linux/intelRdt", json!({}));
    b.create().fails(1, &["linux.intelRdt: no resctrl file system is mounted"]).one_line();
    b.cmd(&["state", &b.id]).fails(1, &["does not exist"]);
}
