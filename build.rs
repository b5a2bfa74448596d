//! How the program is linked.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/sys/sections.ld");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    // Where the program begins: before the C library, see src/sys/entry.rs. Without optimisation its simplest steps are calls that only
    // the C library makes possible.
    if is("CARGO_CFG_TARGET_ARCH", "x86_64") && !is("OPT_LEVEL", "0") {
        link_arg("--entry=orlop_start");
    }
    // What is not in the program is not moved at its beginning, see src/sys/image.rs.
    if is("PROFILE", "release") {
        link_arg("--no-eh-frame-hdr");
        link_arg(&format!("-T,{}/src/sys/sections.ld", env::var("CARGO_MANIFEST_DIR").unwrap_or_default()));
        if knows_packed_relocations() {
            link_arg("-z,pack-relative-relocs");
        }
    }
}

fn link_arg(arg: &str) {
    println!("cargo::rustc-link-arg-bins=-Wl,{arg}");
}

/// Whether the C library that is linked in relocates by DT_RELR, which is a fiftieth of the size: glibc does from 2.36 on.
fn knows_packed_relocations() -> bool {
    if env::var("HOST") != env::var("TARGET") {
        return false;
    }
    let Ok(out) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else { return false };
    let text = String::from_utf8_lossy(&out.stdout);
    let version = text.trim().strip_prefix("glibc 2.").and_then(|minor| minor.parse().ok());
    version.is_some_and(|minor: u32| minor >= 36)
}
