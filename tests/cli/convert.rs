//! `convert` without a server: all tiers inside of one process.

use std::os::unix::fs::PermissionsExt as _;

use crate::sandbox::{Sandbox, png};

const DRIVERS: [&str; 2] = ["uring", "epoll"];

fn is_type(bytes: &[u8], extension: &str) -> bool {
    match extension {
        "jpg" => bytes.starts_with(b"\xff\xd8\xff"),
        "png" => bytes.starts_with(b"\x89PNG\r\n\x1a\n"),
        "webp" => bytes.starts_with(b"RIFF") && bytes[8..].starts_with(b"WEBP"),
        "pdf" => bytes.starts_with(b"%PDF-"),
        _ => false,
    }
}

#[test]
fn every_pair_of_pictures_is_converted() {
    for driver in DRIVERS {
        let sandbox = Sandbox::new();
        sandbox.write("in.png", png(64, 48));
        for (from, to) in [("in.png", "jpg"), ("in.png", "webp"), ("in.png", "png")] {
            let name = format!("from.{to}");
            let ended = sandbox.run(&["convert", from, "--to", to, "-o", &name, "--io", driver]);
            let ended = ended.expect(0);
            assert_eq!((ended.stdout.as_slice(), ended.stderr.as_str()), (&b""[..], ""));
            assert!(is_type(&sandbox.read(&name), to));
        }
        for from in ["jpg", "webp"] {
            for to in ["jpg", "png", "webp"] {
                let (input, name) = (format!("from.{from}"), format!("{from}.{to}"));
                sandbox
                    .run(&["convert", &input, "--to", to, "-o", &name, "--io", driver])
                    .expect(0);
                assert!(is_type(&sandbox.read(&name), to), "{from} to {to}");
            }
        }
    }
}

#[test]
fn text_becomes_pdf_and_text_again() {
    let sandbox = Sandbox::new();
    sandbox.write("in.txt", "first line\nsecond line\n");
    sandbox.run(&["convert", "in.txt", "--to", "pdf"]).expect(0);
    assert!(is_type(&sandbox.read("in.pdf"), "pdf"));
    let ended = sandbox.run(&["convert", "in.pdf", "--to", "txt", "-o", "-"]).expect(0);
    let lines: Vec<_> = ended.text().lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    assert_eq!(lines, ["first line", "second line"]);
}

#[test]
fn stdin_goes_to_stdout() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run_with_stdin(&["convert", "-", "--to", "webp"], &png(9, 9)).expect(0);
    assert!(is_type(&ended.stdout, "webp"));
    let args = ["convert", "-", "--to", "jpg", "-o", "out.jpg"];
    let ended = sandbox.run_with_stdin(&args, &png(9, 9)).expect(0);
    assert!(ended.stdout.is_empty());
    assert!(is_type(&sandbox.read("out.jpg"), "jpg"));
}

#[test]
fn nothing_is_overwritten_without_force() {
    let sandbox = Sandbox::new();
    sandbox.write("a.png", png(9, 9));
    sandbox.write("a.jpg", "mine");
    let ended = sandbox.run(&["convert", "a.png", "--to", "jpg"]).expect(1);
    ended.says("a.jpg exists already").says("hint: ").says("--force");
    assert_eq!(sandbox.read("a.jpg"), b"mine");
    // A result of the input's own name is no exception.
    sandbox.run(&["convert", "a.png", "--to", "png"]).expect(1).says("a.png exists already");
    assert_eq!(sandbox.read("a.png"), png(9, 9));
    sandbox.run(&["convert", "a.png", "--to", "jpg", "--force"]).expect(0);
    assert!(is_type(&sandbox.read("a.jpg"), "jpg"));
    assert_eq!(sandbox.files(), ["a.jpg", "a.png"]);
}

#[test]
fn many_files_go_on_after_one_fails() {
    let sandbox = Sandbox::new();
    for name in ["a.png", "c.png"] {
        sandbox.write(name, png(9, 9));
    }
    sandbox.write("b.png", b"\x89PNG\r\n\x1a\nbroken");
    let args = ["convert", "a.png", "b.png", "missing.png", "c.png", "--to", "jpg"];
    let ended = sandbox.run(&args).expect(1);
    let ended = ended.says("error: b.png: ").says("error: missing.png: there is no such file");
    ended.says("2 converted, 2 failed");
    assert_eq!(sandbox.files(), ["a.jpg", "a.png", "b.png", "c.jpg", "c.png"]);
}

#[test]
fn two_files_do_not_become_one() {
    let sandbox = Sandbox::new();
    sandbox.write("a.png", png(9, 9));
    sandbox.write("a.webp", png(8, 8));
    let args = ["convert", "a.png", "a.webp", "--to", "jpg", "--force"];
    sandbox.run(&args).expect(1).says("a.jpg is the result of an earlier file");
}

#[test]
fn a_directory_takes_results_with_the_mode_of_any_file() {
    let sandbox = Sandbox::new();
    sandbox.write("a.png", png(9, 9));
    std::fs::create_dir(sandbox.path("out")).unwrap();
    let line =
        format!("umask 027; exec {} convert a.png --to jpg -o out/", env!("CARGO_BIN_EXE_fxsrv"));
    crate::sandbox::end(&mut sandbox.shell(&line)).expect(0);
    let mode = std::fs::metadata(sandbox.path("out/a.jpg")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn a_wrong_command_line_is_exit_2() {
    let sandbox = Sandbox::new();
    sandbox.write("a.png", png(9, 9));
    for (args, part) in [
        (&["convert", "a.png"][..], "--to"),
        (&["convert", "a.png", "--to", "gif"], "possible values: jpg, png"),
        (&["convert", "a.png", "--to", "jpg", "--quality", "101"], "from 1 to 100"),
        (&["convert", "a.png", "--to", "jpg", "--wire", "v2"], "auto, v1.1 and v1.0"),
        (&["convert", "a.png", "--to", "jpg", "--ca", "x"], "no server"),
        (&["convert", "a.png", "--to", "jpg", "--server", "here"], "HOST:PORT"),
        (&["convert", "a.png", "--to", "jpg", "--server", "a:1"], "--ca"),
        (&["convert", "a.png", "a.png", "--to", "jpg", "-o", "-"], "stdout"),
        (&["convert", "a.png", "--to", "jpg", "--config", "none.toml"], "none.toml"),
    ] {
        sandbox.run(args).expect(2).says(part);
    }
    assert_eq!(sandbox.files(), ["a.png"]);
}

#[test]
fn a_file_over_the_limit_is_not_sent() {
    let sandbox = Sandbox::new();
    sandbox.write("a.txt", "x".repeat(1025));
    let args = ["convert", "a.txt", "--to", "pdf", "--max-body", "1 KiB"];
    sandbox.run(&args).expect(1).says("larger than the limit of 1 KiB");
    let args = ["convert", "-", "--to", "pdf", "--max-body", "1 KiB"];
    sandbox.run_with_stdin(&args, &[b'x'; 1025]).expect(1).says("larger than the limit of 1 KiB");
}

#[test]
fn a_flag_goes_before_a_variable_and_that_before_the_file() {
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.path("home/.config/fxsrv")).unwrap();
    let check = |variable: Option<&str>, flags: &[&str]| {
        let mut command = sandbox.command(&[&["convert", "--check-config"], flags].concat());
        if let Some(wire) = variable {
            command.env("FXSRV_WIRE", wire);
        }
        let ended = crate::sandbox::end(&mut command).expect(0);
        let wire = ended.text().lines().find_map(|line| line.trim().strip_prefix("version: "));
        wire.unwrap().to_owned()
    };
    assert_eq!(check(None, &[]), "auto");
    sandbox.write("home/.config/fxsrv/config.toml", "[convert]\nwire = \"v1.0\"\n");
    assert_eq!(check(None, &[]), "v1.0");
    assert_eq!(check(Some("v1.1"), &[]), "v1.1");
    assert_eq!(check(Some("v1.1"), &["--wire", "auto"]), "auto");
    sandbox.write("other.toml", "[convert]\nwire = \"auto\"\n");
    assert_eq!(check(None, &["--config", "other.toml"]), "auto");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let sandbox = Sandbox::new();
    let line = format!("{} --help | true", env!("CARGO_BIN_EXE_fxsrv"));
    let ended = crate::sandbox::end(&mut sandbox.shell(&line)).expect(0);
    assert_eq!(ended.stderr, "");
    sandbox.write("a.png", png(400, 400));
    let line = format!(
        "{{ {} convert a.png --to png -o -; echo $? >&2; }} | true",
        env!("CARGO_BIN_EXE_fxsrv")
    );
    let ended = crate::sandbox::end(&mut sandbox.shell(&line)).expect(0);
    assert_eq!(ended.stderr, "0\n");
}

#[test]
fn help_and_version_are_on_stdout() {
    let sandbox = Sandbox::new();
    let version = sandbox.run(&["--version"]).expect(0);
    let start = concat!("fxsrv ", env!("CARGO_PKG_VERSION"), "\ncodecs:\n");
    assert!(version.text().starts_with(start), "{}", version.text());
    for args in [&["--help"][..], &["convert", "--help"], &["up", "--help"], &["certs", "--help"]] {
        let help = sandbox.run(args).expect(0);
        assert!(help.text().contains("Usage:"));
        assert!(help.text().lines().all(|line| line.chars().count() <= 100), "{}", help.text());
    }
}
