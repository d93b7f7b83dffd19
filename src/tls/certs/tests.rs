use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn names() -> Vec<String> {
    ["localhost", "*.example.org", "127.0.0.1", "::1"].map(String::from).to_vec()
}

#[test]
fn a_new_directory_loads_and_describes_itself() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("new/certs");
    let dir = CertDir::init(&path, &names()).unwrap();
    dir.load_server().unwrap();
    dir.load_client().unwrap();
    dir.load_roots().unwrap();

    let infos = dir.describe().unwrap();
    let kinds: Vec<_> = infos.iter().map(|info| (info.file, info.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("ca.pem", CertKind::Ca),
            ("server.pem", CertKind::Server),
            ("client.pem", CertKind::Client)
        ]
    );
    // Whole days: one fewer as soon as a second has passed.
    for (info, days) in infos.iter().zip([CA_VALID_DAYS, LEAF_VALID_DAYS, LEAF_VALID_DAYS]) {
        let days = i64::from(days);
        assert!((days - 1..=days).contains(&info.days_left), "{info:?}");
    }
    assert_eq!(infos[1].names, names());
    assert_eq!(infos[0].subject, "CN=fxsrv CA");
    assert_eq!(infos[0].not_after.len(), "2027-01-31".len());
}

#[test]
fn keys_and_new_directories_are_for_the_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("certs");
    CertDir::init(&path, &names()).unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for key in ["ca.key", "server.key", "client.key"] {
        assert_eq!(mode(&path.join(key)), 0o600, "{key}");
    }
}

#[test]
fn an_existing_file_is_named_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("client.key"), "mine").unwrap();
    let error = CertDir::init(dir.path(), &names()).unwrap_err();
    assert!(error.to_string().contains("client.key exists already"), "{error}");
    assert!(error.hint().is_some());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(fs::read(dir.path().join("client.key")).unwrap(), b"mine");
}

#[test]
fn what_is_no_name_is_refused_before_anything_is_written() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("certs");
    for bad in ["", "two words", "http://host", "host:4433", "*.*.org"] {
        let error = CertDir::init(&path, &[bad.to_owned()]).unwrap_err();
        assert!(error.to_string().contains("neither a DNS name nor an IP address"), "{error}");
    }
    assert!(CertDir::init(&path, &[]).unwrap_err().to_string().contains("at least one"));
    assert!(!path.exists());
}

#[test]
fn a_missing_or_broken_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let certs = CertDir::init(dir.path(), &names()).unwrap();
    fs::remove_file(dir.path().join("server.key")).unwrap();
    let error = certs.load_server().unwrap_err();
    assert!(error.to_string().contains("server.key"), "{error}");
    assert!(error.hint().unwrap().contains("fxsrv certs init"));

    fs::write(dir.path().join("ca.pem"), "no certificate at all").unwrap();
    let error = certs.load_roots().unwrap_err();
    assert!(error.to_string().contains("ca.pem: no certificate in it"), "{error}");
    assert!(certs.describe().unwrap_err().to_string().contains("ca.pem"));

    fs::copy(dir.path().join("ca.key"), dir.path().join("client.key")).unwrap();
    let error = certs.load_client().unwrap_err();
    assert!(error.to_string().contains("the key does not belong"), "{error}");
}

#[test]
fn a_client_has_only_the_ca_and_an_empty_directory_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let certs = CertDir::open(dir.path());
    assert!(certs.describe().unwrap_err().to_string().contains("ca.pem"));
    let ca = make_ca("somebody's CA", 1).unwrap();
    fs::write(dir.path().join("ca.pem"), &ca.cert_pem).unwrap();
    let infos = certs.describe().unwrap();
    assert_eq!((infos.len(), infos[0].kind), (1, CertKind::Ca));
    assert!((0..=1).contains(&infos[0].days_left));
}

#[test]
fn a_key_never_shows_in_debug_output() {
    let made = throwaway(&names()).unwrap();
    let ca = make_ca("CA", 1).unwrap();
    let client = make_client_leaf(&ca, "client", 1).unwrap();
    let identity = Identity::from_pem(&client.cert_pem, &client.key_pem).unwrap();
    let base64: String = client.key_pem.lines().nth(2).unwrap().to_owned();
    for shown in [format!("{identity:?}"), format!("{made:?}")] {
        assert!(!shown.contains(&base64) && !shown.contains("PRIVATE"));
    }
}

#[test]
fn leaves_are_renewed_under_the_same_ca_with_the_names_that_they_have() {
    let dir = tempfile::tempdir().unwrap();
    let masters = ["master.internal".to_owned()];
    let certs = CertDir::init_named(dir.path(), &names(), &masters).unwrap();
    let read = |file: &str| fs::read(dir.path().join(file)).unwrap();
    let before: Vec<_> = ["ca.pem", "server.pem", "client.pem", "server.key"].map(read).into();
    fs::write(dir.path().join(".server.pem.new"), "left by a renewal that was cut short").unwrap();

    let soon = Renewal { within_days: Some(30), ..Renewal::default() };
    assert!(certs.renew(&soon).unwrap().is_empty(), "none of them ends soon");
    assert_eq!(read("server.pem"), before[1]);

    assert_eq!(certs.renew(&Renewal::default()).unwrap(), ["server.pem", "client.pem"]);
    assert_eq!(read("ca.pem"), before[0]);
    for (file, old) in [("server.pem", 1), ("client.pem", 2), ("server.key", 3)] {
        assert_ne!(read(file), before[old], "{file}");
    }
    certs.load_server().unwrap();
    certs.load_client().unwrap();
    let infos = certs.describe().unwrap();
    assert_eq!((&infos[1].names, &infos[2].names[..]), (&names(), &masters[..]));
    let mode = fs::metadata(dir.path().join("server.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 6);

    let other = Renewal { server_names: Some(vec!["b.org".into()]), ..Renewal::default() };
    certs.renew(&other).unwrap();
    assert_eq!(certs.describe().unwrap()[1].names, ["b.org"]);
    fs::remove_file(dir.path().join("ca.key")).unwrap();
    let error = certs.renew(&Renewal::default()).unwrap_err().to_string();
    assert!(error.contains("ca.key"), "{error}");
}
