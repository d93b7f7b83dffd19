//! Servers in processes of their own, and clients that send to them.

use std::io::BufRead as _;
use std::os::unix::fs::PermissionsExt as _;

use crate::sandbox::{Sandbox, Served, end, png};

const ANY_PORT: &str = "127.0.0.1:0";

/// Certificates in `certs`, a token in `token`.
fn prepared() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.run(&["certs", "init", "--dir", "certs"]).expect(0);
    let token = sandbox.run(&["token", "new"]).expect(0);
    sandbox.write("token", &token.stdout);
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(sandbox.path("token"), mode).unwrap();
    sandbox.write("a.png", png(64, 48));
    sandbox
}

fn worker(sandbox: &Sandbox, more: &[&str]) -> Served {
    let args = ["worker", "--listen", ANY_PORT, "--certs", "certs", "--slots", "1"];
    sandbox.serve(&[&args, more].concat())
}

fn master(sandbox: &Sandbox, worker: &str, more: &[&str]) -> Served {
    let args = ["master", "--listen", ANY_PORT, "--certs", "certs", "--token-file", "token"];
    sandbox.serve(&[&args[..], &["--worker", worker], more].concat())
}

fn convert_args<'a>(server: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let args = ["convert", "a.png", "--to", "jpg", "--server", server, "--ca", "certs/ca.pem"];
    [&args[..], &["--token-file", "token"], more].concat()
}

#[test]
fn three_processes_convert_a_file_in_both_versions_on_both_drivers() {
    for driver in ["uring", "epoll"] {
        let sandbox = prepared();
        let worker = worker(&sandbox, &["--io", driver]);
        let master = master(&sandbox, &worker.address, &["--io", driver]);
        for (wire, name) in [("auto", "1.jpg"), ("v1.1", "2.jpg"), ("v1.0", "3.jpg")] {
            let more = ["--wire", wire, "-o", name, "--io", driver];
            sandbox.run(&convert_args(&master.address, &more)).expect(0);
        }
        assert_eq!(sandbox.read("1.jpg"), sandbox.read("2.jpg"));
        assert_eq!(sandbox.read("1.jpg"), sandbox.read("3.jpg"));
        assert_eq!(master.signal("TERM"), Some(0));
        assert_eq!(worker.signal("INT"), Some(0));
    }
}

#[test]
fn a_worker_and_a_master_of_another_make_are_met_half_way() {
    let sandbox = prepared();
    let worker = worker(&sandbox, &["--client-auth", "none", "--token-file", "token"]);
    let more = ["--worker-wire", "v1.0", "--worker-ca", "certs/ca.pem"];
    let master = master(&sandbox, &worker.address, &more);
    sandbox.run(&convert_args(&master.address, &[])).expect(0);
    // And to the worker itself, as a master of v1.0 would.
    let more = ["--wire", "v1.0", "-o", "direct.jpg"];
    sandbox.run(&convert_args(&worker.address, &more)).expect(0);
    assert_eq!(sandbox.read("a.jpg"), sandbox.read("direct.jpg"));
}

#[test]
fn a_wrong_token_is_exit_1_and_stops_the_rest() {
    let sandbox = prepared();
    let worker = worker(&sandbox, &[]);
    let master = master(&sandbox, &worker.address, &[]);
    let mut command = sandbox.command(&[
        "convert",
        "a.png",
        "a.png",
        "--to",
        "jpg",
        "--server",
        &master.address,
        "--ca",
        "certs/ca.pem",
    ]);
    let ended = end(command.env("FXSRV_TOKEN", "not-the-token")).expect(1);
    let ended = ended.says("(UNAUTHORIZED)").says("0 converted, 1 failed, 1 not tried");
    assert!(!ended.stderr.contains("not-the-token"), "{}", ended.stderr);
    assert!(!sandbox.files().contains(&"a.jpg".to_owned()));
}

#[test]
fn who_cannot_be_reached_or_trusted_is_exit_3() {
    let sandbox = prepared();
    let worker = worker(&sandbox, &[]);
    let master = master(&sandbox, &worker.address, &[]);
    sandbox.run(&["certs", "init", "--dir", "other"]).expect(0);
    let args = convert_args(&master.address, &["--ca", "other/ca.pem"]);
    let args: Vec<_> = args.iter().copied().filter(|arg| *arg != "certs/ca.pem").collect();
    let at = args.iter().position(|arg| *arg == "--ca").unwrap();
    let args = [&args[..at], &args[at + 1..]].concat();
    sandbox.run(&args).expect(3).says("cannot trust").says("hint: give the ca.pem");

    let address = master.address.clone();
    assert_eq!(master.signal("TERM"), Some(0));
    let ended = sandbox.run(&convert_args(&address, &[])).expect(3);
    ended.says("cannot reach").says("hint: check that the server runs");
    assert!(!sandbox.files().contains(&"a.jpg".to_owned()));
}

#[test]
fn a_master_without_its_worker_says_so() {
    let sandbox = prepared();
    let worker = worker(&sandbox, &[]);
    let master = master(&sandbox, &worker.address, &[]);
    assert_eq!(worker.signal("TERM"), Some(0));
    sandbox.run(&convert_args(&master.address, &[])).expect(1).says("(NO_WORKER)");
}

#[test]
fn a_worker_lets_in_nobody_without_a_certificate() {
    let sandbox = prepared();
    let worker = worker(&sandbox, &[]);
    let ended = sandbox.run(&convert_args(&worker.address, &[])).expect(3);
    ended.says("cannot trust").says("certificate");
}

#[test]
fn up_prints_a_command_that_works() {
    let sandbox = Sandbox::new();
    sandbox.write("photo.png", png(64, 48));
    let args = ["up", "--listen", ANY_PORT, "--state", "my state", "--workers", "2"];
    let first = {
        let mut up = sandbox.serve(&args);
        let mut command = String::new();
        up.stdout.read_line(&mut command).unwrap();
        end(&mut sandbox.shell(&command)).expect(0);
        assert!(sandbox.read("photo.jpg").starts_with(b"\xff\xd8\xff"));
        assert_eq!(up.signal("INT"), Some(0));
        sandbox.read("my state/token")
    };
    let mode = std::fs::metadata(sandbox.path("my state/token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // The second start finds what the first has made.
    let up = sandbox.serve(&args);
    assert_eq!(sandbox.read("my state/token"), first);
    assert_eq!(up.signal("TERM"), Some(0));
}

#[test]
fn status_is_the_servers_own_word() {
    let sandbox = prepared();
    let worker = worker(&sandbox, &[]);
    let master = master(&sandbox, &worker.address, &[]);
    let args =
        ["status", "--server", &master.address, "--ca", "certs/ca.pem", "--token-file", "token"];
    assert!(!sandbox.run(&args).expect(0).text().trim().is_empty());
    sandbox.run(&["status"]).expect(2).says("--server");
}

#[test]
fn certificates_are_made_once_and_shown() {
    let sandbox = Sandbox::new();
    let args = ["certs", "init", "--dir", "certs", "--name", "files.example.org"];
    let made = sandbox.run(&args).expect(0);
    assert!(made.text().contains("files.example.org"), "{}", made.text());
    let key = sandbox.read("certs/ca.key");
    sandbox.run(&args).expect(2).says("is not overwritten");
    assert_eq!(sandbox.read("certs/ca.key"), key);
    let shown = sandbox.run(&["certs", "show", "--dir", "certs"]).expect(0);
    assert_eq!(shown.text(), made.text());
    let files: Vec<_> = shown.text().lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(files, ["file", "ca.pem", "server.pem", "client.pem"]);
    sandbox.run(&["certs", "show", "--dir", "none"]).expect(2).says("cannot read none/ca.pem");
}

#[test]
fn a_server_says_what_it_lacks() {
    let sandbox = prepared();
    let base = ["master", "--certs", "certs", "--token-file", "token", "--worker", "a:1"];
    sandbox.run(&[&base[..], &["--check-config"]].concat()).expect(0);
    for (args, part) in [
        (&["master"][..], "a master needs certificates"),
        (&["master", "--certs", "certs"], "fxsrv token new"),
        (&["master", "--certs", "certs", "--token-file", "token"], "at least one worker"),
        (
            &["master", "--certs", "none", "--token-file", "token", "--worker", "a:1"],
            "none/server.pem",
        ),
        (
            &["master", "--certs", "certs", "--token-file", "none", "--worker", "a:1"],
            "fxsrv token new",
        ),
        (&["master", "--certs", "certs", "--token-file", "token", "--worker", "a"], "HOST:PORT"),
        (&["worker"], "a worker needs certificates"),
        (&["worker", "--certs", "certs", "--slots", "0"], "slots is 0, and must be from 1"),
        (&["worker", "--certs", "certs", "--buffers", "7"], "buffers is 7, and must be from 8"),
        (&["up", "--workers", "65"], "workers is 65"),
    ] {
        sandbox.run(args).expect(2).says("error: ").says(part);
    }
    let busy = std::net::TcpListener::bind(ANY_PORT).unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let args = ["worker", "--certs", "certs", "--listen", &address];
    sandbox.run(&args).expect(1).says("cannot listen on").says(&address);
}

#[test]
fn the_sample_configuration_is_accepted() {
    let sandbox = prepared();
    let sample = include_str!("../../docs/fxsrv.toml");
    sandbox.write("fxsrv.toml", sample);
    // Authorities of others, which a worker reads at once.
    for name in ["certs/s3-ca.pem", "certs/nats-ca.pem"] {
        std::fs::copy(sandbox.path("certs/ca.pem"), sandbox.path(name)).unwrap();
    }
    for command in ["convert", "master", "worker", "up"] {
        let ended = sandbox.run(&[command, "--check-config", "--config", "fxsrv.toml"]);
        assert!(ended.expect(0).text().starts_with("ok\n"), "{command}");
    }
}

#[test]
fn a_token_that_everybody_can_read_is_warned_of() {
    let sandbox = prepared();
    let mode = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(sandbox.path("token"), mode).unwrap();
    let args = ["worker", "--certs", "certs", "--token-file", "token", "--check-config"];
    sandbox.run(&args).expect(0).says("warning: token can be read by every user");
}
