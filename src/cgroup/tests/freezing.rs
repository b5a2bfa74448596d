//! Freezing, thawing, and killing what is frozen.

use super::*;

#[test]
fn frozen_and_thawed() {
    for scratch in Scratch::all("freeze") {
        let cgroup = &scratch.cgroup;
        scratch.create("{}").unwrap();
        let mut child = scratch.run("a", "while :; do :; done");
        assert!(!cgroup.frozen().unwrap());
        cgroup.freeze(soon()).unwrap();
        assert!(cgroup.frozen().unwrap());
        cgroup.thaw(soon()).unwrap();
        assert!(!cgroup.frozen().unwrap());
        // Frozen processes die of a kill, and a signal that they survive leaves them frozen.
        cgroup.freeze(soon()).unwrap();
        cgroup.kill_all(signal::WINCH, soon()).unwrap();
        assert!(cgroup.frozen().unwrap());
        cgroup.kill_all(signal::KILL, soon()).unwrap();
        child.wait().unwrap();
        assert!(!cgroup.frozen().unwrap());
    }
}

#[test]
fn what_the_container_has_frozen_itself_dies_of_a_kill() {
    for scratch in Scratch::all("frozen-below") {
        let cgroup = &scratch.cgroup;
        scratch.create("{}").unwrap();
        let mut child = scratch.run("a/b", "exec sleep 1000");
        for (below, file, frozen) in [("a/b", "freezer.state", "FROZEN"), ("a/b", "cgroup.freeze", "1")] {
            for dir in scratch.dirs().map(|dir| dir.join(below)).filter(|dir| dir.join(file).exists()) {
                file::write(&dir.join(file), frozen).unwrap();
            }
        }
        cgroup.kill_all(signal::KILL, soon()).unwrap();
        // Before the child is waited for, which would take for ever if it stayed frozen.
        cgroup.destroy(soon()).unwrap();
        child.wait().unwrap();
        assert!(scratch.dirs().all(|dir| !dir.exists()));
    }
}

#[test]
fn a_freeze_that_takes_too_long_is_undone() {
    for scratch in Scratch::all("late") {
        let cgroup = &scratch.cgroup;
        scratch.create("{}").unwrap();
        let mut children: Vec<Child> = (0..4).map(|_| scratch.run("", "while :; do :; done")).collect();
        // Whether busy processes have stopped by the first look is a matter of luck.
        let late = (0..1000).find_map(|_| {
            let late = cgroup.freeze(Instant::now()).err();
            assert_eq!(cgroup.frozen().unwrap(), late.is_none());
            cgroup.thaw(soon()).unwrap();
            late
        });
        match late.map(|error| error.to_string()) {
            Some(error) => assert!(error.contains("some process didn't stop in time, of "), "{error}"),
            None => eprintln!("skipped: the processes always stop at once"),
        }
        cgroup.kill_all(signal::KILL, soon()).unwrap();
        for child in &mut children {
            child.wait().unwrap();
        }
    }
}

#[test]
fn a_freeze_further_up_is_named() {
    for scratch in Scratch::all("above") {
        scratch.create("{}").unwrap();
        let mut child = scratch.run("", "sleep 1000");
        let above = scratch.cgroup.freezer().unwrap();
        let parent = Hierarchy { dir: above.dir.parent().unwrap().to_owned(), ..above.clone() };
        let parent = Cgroup { hierarchies: vec![parent], ..scratch.cgroup.clone() };
        parent.freeze(soon()).unwrap();
        let error = scratch.cgroup.thaw(Instant::now()).unwrap_err().to_string();
        assert!(error.ends_with("a cgroup further up is frozen"), "{error}");
        parent.thaw(soon()).unwrap();
        scratch.cgroup.thaw(soon()).unwrap();
        scratch.cgroup.kill_all(signal::KILL, soon()).unwrap();
        child.wait().unwrap();
    }
}
