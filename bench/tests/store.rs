//! A store of our own, asked by the generator in all five ways, with TLS and without.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fxsrv::io::Driver;
use fxsrv_bench::load::{
    Drive, Load, Recorder, Reuse, Script, StoreOp, StoreScript, prepared, run,
};
use fxsrv_bench::measure::servers::{Servers, Setup};

const CONNECTIONS: usize = 3;
const EACH: u64 = 5;

fn servers(is_plain: bool, driver: Driver) -> Option<Servers> {
    let own = std::env::current_exe().unwrap();
    // Beside the folder of the tests, where a build of the workspace puts it.
    let binary = own.ancestors().nth(2).unwrap().join("fxsrv");
    if !Path::new(&binary).exists() {
        #[allow(clippy::print_stderr)]
        {
            eprintln!("NOT TESTED: there is no {}; `cargo build` makes it", binary.display());
        }
        return None;
    }
    let setup = Setup { binary, flags: vec![format!("--io={driver}")], ..Setup::default() };
    Some(Servers::start_store(&setup, is_plain).unwrap())
}

fn ask(servers: &Servers, driver: Driver, reuse: Reuse, op: StoreOp, file: &[u8]) -> Recorder {
    let load = Load {
        drive: Drive::Fixed { each: EACH },
        connections: CONNECTIONS,
        threads: 2,
        driver,
        reuse,
        warm_up: Duration::ZERO,
        measured: Duration::from_millis(100),
        request_timeout: Duration::from_secs(30),
        drain: Duration::from_secs(2),
        seed: 1,
    };
    let script = Script::Store(StoreScript::new(op, None, Arc::new(file.to_vec()), 4096));
    let script = prepared(&load, servers.target(), &script).unwrap();
    run(&load, servers.target(), &script, || ()).unwrap().counts
}

#[test]
fn a_store_is_asked_in_every_way() {
    let file: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let numbers = b"1\n4.5\n-2\n";
    let all = CONNECTIONS as u64 * EACH;
    let size = file.len() as u64;
    for driver in [Driver::Epoll, Driver::Uring] {
        for is_plain in [false, true] {
            let Some(servers) = servers(is_plain, driver) else { return };
            for reuse in [Reuse::Kept, Reuse::New] {
                let ask = |op, file: &[u8]| {
                    let counts = ask(&servers, driver, reuse, op, file);
                    assert_eq!(counts.failures(), 0, "{op:?} on {driver}: {:?}", counts.failed);
                    assert_eq!(counts.answered(), all, "{op:?} on {driver}");
                    (counts.up_bytes, counts.down_bytes)
                };
                assert_eq!(ask(StoreOp::Put, &file), (all * size, 0));
                assert_eq!(ask(StoreOp::Get, &file), (0, all * size));
                assert_eq!(ask(StoreOp::Change, b""), (0, 0));
                let (up, down) = ask(StoreOp::Summary, numbers);
                assert!(up == 0 && down > all * 20, "{down} bytes of summaries");
                assert_eq!(ask(StoreOp::Help, b""), (0, all * 31));
            }
        }
    }
}

/// What a store refuses is a failure by its own name.
#[test]
fn what_a_store_refuses_is_counted_apart() {
    let Some(servers) = servers(true, Driver::Epoll) else { return };
    let counts = ask(&servers, Driver::Epoll, Reuse::Kept, StoreOp::Summary, b"no numbers\n");
    assert_eq!(counts.answered(), 0);
    assert_eq!(counts.failed["declined"], CONNECTIONS as u64 * EACH, "{:?}", counts.failed);
}
