use super::place::{bus_path, root};
use std::path::{Path, PathBuf};

#[test]
fn a_users_systemd_is_above_his_processes() {
    let of = |own: &str| root(true, Path::new(own)).unwrap();
    let expected = PathBuf::from("user.slice/user-7.slice/user@7.service");
    assert_eq!(of("/user.slice/user-7.slice/user@7.service/app.slice/x.scope"), expected);
    // Not from a login session, which lies beside it.
    let session = of("/user.slice/user-7.slice/session-1.scope");
    assert!(
        session.starts_with("user.slice") && session.to_string_lossy().ends_with(".service"),
        "{session:?}"
    );
}

#[test]
fn addresses_of_a_bus() {
    let cases = [
        ("unix:path=/run/user/1000/bus", Some("/run/user/1000/bus")),
        ("unix:path=/run/user/1000/bus,guid=0123", Some("/run/user/1000/bus")),
        ("unix:abstract=/tmp/x,guid=0123", Some("@/tmp/x")),
        ("tcp:host=localhost,port=1", None),
        ("", None),
    ];
    for (address, expected) in cases {
        assert_eq!(bus_path(address), expected.map(PathBuf::from), "{address}");
    }
}
