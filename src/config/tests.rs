//! Keys, in the file and in what goes before it. That of flag and variable is tested with the
//! program itself, in tests/cli.rs.

use std::time::Duration;

use super::*;
use crate::client::Wire;
use crate::io::Driver;
use crate::isolation::User;
use crate::limits::FleetLimits;

const SAMPLE: &str = include_str!("../../docs/fxsrv.toml");

#[test]
fn the_sample_has_every_key() {
    let file = File::parse(SAMPLE).unwrap();
    assert_eq!(file.convert.set_count(), ConvertKeys::KEYS.len());
    assert_eq!(file.master.set_count(), MasterKeys::KEYS.len());
    assert_eq!(file.worker.set_count(), WorkerKeys::KEYS.len());
    assert_eq!(file.up.set_count(), UpKeys::KEYS.len());
    // `backend` is there as a comment: it takes the place of `root`.
    assert_eq!(file.store.set_count() + 1, StoreKeys::KEYS.len());
    assert_eq!(file.files.set_count(), FilesKeys::KEYS.len());
    assert_eq!(file.web.set_count(), WebKeys::KEYS.len());
    assert_eq!(file.batch.set_count(), BatchKeys::KEYS.len());
}

#[test]
fn the_sample_says_the_defaults() {
    let file = File::parse(SAMPLE).unwrap();
    let default = Common::default().parse().unwrap();
    for common in [file.master.common(), file.worker.common(), file.up.common()] {
        let running = common.parse().unwrap();
        assert_eq!(running.limits, default.limits);
        assert_eq!(
            (running.threads, running.buffers, running.grace),
            (default.threads, default.buffers, default.grace)
        );
    }
    assert_eq!(file.master.fleet_limits().unwrap(), FleetLimits::DEFAULT);
    assert_eq!(file.worker.notice.unwrap().0, NOTICE_DEFAULT);
    let as_said = isolation(
        file.worker.isolation,
        Some(User::default()),
        file.worker.isolation_memory,
        default.limits.body_bytes_max,
        SPARES,
    );
    assert_eq!(as_said, isolation(None, None, None, default.limits.body_bytes_max, SPARES));
    assert_eq!(file.convert.isolation, file.worker.isolation);
    assert_eq!(file.batch.isolation, file.worker.isolation);
    assert_eq!(file.store.running().unwrap().limits, default.limits);
    assert_eq!(file.store.limits(), StoreKeys::default().limits());
    assert_eq!(file.files.limits(), FilesKeys::default().limits());
    assert_eq!(file.convert.limits(), ConvertKeys::default().limits());
    assert_eq!(file.web.limits().unwrap(), WebKeys::default().limits().unwrap());
    assert_eq!(file.web.client_limits(), WebKeys::default().client_limits());
    assert_eq!(file.web.grace(), WebKeys::default().grace());
    assert_eq!(file.batch.limits(), BatchKeys::default().limits());
    assert_eq!(file.convert.wire, Some(Wire::default()));
    let (connect, convert) = (file.master.connect_timeout, file.worker.convert_timeout);
    assert_eq!(connect.unwrap().0, default.limits.connect_timeout);
    assert_eq!(convert.unwrap().0, default.limits.convert_timeout);
}

#[test]
fn what_is_set_goes_before_the_file() {
    let file = File::parse("[convert]\nserver = 'a:1'\nquality = 80\nforce = true").unwrap();
    let flags = ConvertKeys {
        server: Some("b:2".parse().unwrap()),
        force: Some(false),
        ..ConvertKeys::default()
    };
    let keys = flags.or(file.convert);
    assert_eq!(keys.server.unwrap().to_string(), "b:2");
    assert_eq!(keys.force, Some(false));
    assert_eq!(keys.quality.as_deref(), Some("80"));
}

#[test]
fn values_are_typed_in_a_file_as_in_a_flag() {
    let text = "[worker]\nio = 'epoll'\nmax-body = 1000\ngrace = 5\nidle-timeout = '500ms'";
    let worker = File::parse(text).unwrap().worker;
    let running = worker.common().parse().unwrap();
    assert_eq!(running.io, Some(Driver::Epoll));
    assert_eq!(running.limits.body_bytes_max, 1000);
    assert_eq!(running.grace, Duration::from_secs(5));
    assert_eq!(running.limits.idle_timeout, Duration::from_millis(500));
}

#[test]
fn an_error_names_the_line_the_key_and_what_is_allowed() {
    for (text, parts) in [
        ("[convert]\nquailty = 1", ["line 2", "quailty", "`quality`"]),
        ("[convert]\nwire = 'v2'", ["line 2", "wire = 'v2'", "auto, v1.1 and v1.0"]),
        ("[master]\nlisten = '5000'", ["line 2", "listen", "HOST:PORT"]),
        ("[worker]\nclient-auth = 'maybe'", ["line 2", "client-auth", "required, none"]),
        ("[worker]\nmax-body = '1 mile'", ["line 2", "max-body", "64 MiB"]),
        ("[up]\nslots = 'two'", ["line 2", "slots", "invalid type"]),
        ("[slave]", ["line 1", "slave", "`worker`"]),
    ] {
        let error = File::parse(text).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        }
    }
    let common = Common { buffers: Some(7), ..Common::default() };
    let error = common.parse().unwrap_err().to_string();
    assert_eq!(error, "buffers is 7, and must be from 8 to 1024");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = File::load(Some(Path::new("/nonexistent/f.toml"))).unwrap_err().to_string();
    assert!(error.starts_with("cannot read /nonexistent/f.toml: "), "{error}");
    assert_eq!(File::load(None).unwrap(), File::default());
}
