//! The file store from outside: the protocol's vectors, however their bytes are cut, on both drivers,
//! with TLS and without; and what clients, disks and accidents do to it.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::large_stack_arrays,
    missing_docs
)]

mod store_support;
mod support;

use std::io::Write as _;
use std::time::Duration;

use fxsrv::store::{Connections, SummaryForm};
use store_support::{Cut, HELP, VECTORS, Wire, hex, over_all, put, start, start_with};
use support::{DRIVERS, eventually};

#[test]
fn the_vectors_are_answered_however_they_are_cut() {
    for driver in DRIVERS {
        for wire in [Wire::Tls, Wire::Plain] {
            for cut in [Cut::Whole, Cut::Bytes] {
                let store = start(driver, wire);
                let mut client = store.connect();
                for (id, send, expect) in VECTORS {
                    client.send(&hex(send), cut);
                    assert_eq!(client.read(hex(expect).len()), hex(expect), "{driver} {id}");
                }
                client.ends_in_order();
            }
        }
    }
}

#[test]
fn the_vectors_are_answered_in_one_segment() {
    over_all(|store| {
        let mut client = store.connect();
        let (sent, expected): (Vec<_>, Vec<_>) =
            VECTORS.iter().map(|(_, send, expect)| (hex(send), hex(expect))).unzip();
        client.send(&sent.concat(), Cut::Whole);
        let expected = expected.concat();
        assert_eq!(client.read(expected.len()), expected);
        client.ends_in_order();
    });
}

#[test]
fn head_and_first_data_come_with_one_read() {
    over_all(|store| {
        let mut client = store.connect();
        let data = vec![7; 300_000];
        assert_eq!(client.ask(&put("big", &data), 1), [0]);
        client.send(b"\x23big", Cut::Whole);
        let first = client.read_once(2048 + 8);
        assert_eq!(first.len(), 2048 + 8, "a client's one recv gets the head and 2 KiB");
        assert_eq!(&first[..8], b"\x23big\x00\x04\x93\xe0");
        let rest = client.read(data.len() - 2048);
        assert!(first[8..].iter().chain(&rest).all(|&byte| byte == 7));
        client.ends_in_order();
    });
}

#[test]
fn files_of_every_size_around_a_buffer_come_back_whole() {
    over_all(|store| {
        let mut client = store.connect();
        for size in [0, 1, 2048, 16_384, 64_511, 64_512, 64_513, 65_536, 65_537, 129_024, 1 << 21] {
            let data: Vec<u8> = (0..size).map(|at: usize| (at * 31 % 251) as u8).collect();
            assert_eq!(client.ask(&put("f", &data), 1), [0], "{size}");
            assert_eq!(client.get("f").unwrap(), data, "{size}");
        }
        assert_eq!(store.own_names(), Vec::<String>::new());
    });
}

#[test]
fn sixteen_unknown_bytes_in_a_row_end_the_connection() {
    over_all(|store| {
        let mut client = store.connect();
        client.send(&[0xe0; 15], Cut::Whole);
        assert_eq!(client.read(15), [0x80; 15]);
        assert_eq!(client.ask(b"\x80", HELP.len()), HELP);
        client.send(&[0xa1; 16], Cut::Whole);
        assert_eq!(client.read(16), [0x80; 16]);
        assert_eq!(client.read_once(1), b"");
    });
}

#[test]
fn help_and_an_immediate_close_harm_nobody() {
    over_all(|store| {
        for _ in 0..20 {
            let mut client = store.connect();
            client.send(b"\x80", Cut::Whole);
            client.vanish();
        }
        assert_eq!(store.connect().ask(b"\x80", HELP.len()), HELP);
    });
}

#[test]
fn a_short_put_stores_nothing_and_leaves_the_earlier_file() {
    over_all(|store| {
        assert_eq!(store.connect().ask(&put("f", b"earlier"), 1), [0]);
        for whole in [put("f", &[1; 200_000]), put("new", &[1; 100])] {
            let mut client = store.connect();
            client.send(&whole[..whole.len() - 1], Cut::Whole);
            client.vanish();
        }
        eventually("removal of the drafts", || store.own_names().is_empty());
        assert_eq!(store.names(), ["f"]);
        let mut client = store.connect();
        assert_eq!(client.get("f").unwrap(), b"earlier");
        assert_eq!(client.ask(b"\x23new", 1), [0x60]);
    });
}

#[test]
fn a_file_that_is_replaced_while_it_is_sent_comes_whole() {
    over_all(|store| {
        let (old, new) = (vec![1; 8 << 20], vec![2; 8 << 20]);
        let mut client = store.connect();
        assert_eq!(client.ask(&put("f", &old), 1), [0]);
        client.send(b"\x21f", Cut::Whole);
        let head = client.read(6);
        assert_eq!(store.connect().ask(&put("f", &new), 1), [0]);
        assert_eq!(head, b"\x21f\x00\x80\x00\x00");
        assert!(client.read(old.len()).iter().all(|&byte| byte == 1));
        assert_eq!(client.get("f").unwrap(), new);
    });
}

#[test]
fn one_shot_closes_after_an_answer() {
    for driver in DRIVERS {
        let store = start_with(driver, Wire::Tls, |config, _| {
            config.connections = Connections::OneShot;
        });
        assert_eq!(store.connect().ask_to_end(&put("f", b"data")), [0]);
        assert_eq!(store.connect().ask_to_end(b"\x21f"), b"\x21f\0\0\0\x04data");
        assert_eq!(store.connect().ask_to_end(b"\x21x"), [0x60]);
    }
}

#[test]
fn a_raw_summary_is_the_text_alone() {
    for driver in DRIVERS {
        let store = start_with(driver, Wire::Tls, |config, _| {
            config.summary = SummaryForm::Raw;
        });
        let mut client = store.connect();
        assert_eq!(client.ask(&put("n", b"1\n2\n"), 1), [0]);
        let text = b"Max: 2.0\nMin: 1.0\nAvg: 1.5\n";
        assert_eq!(client.ask(b"\x61n", text.len()), text);
        client.ends_in_order();
    }
}

#[test]
fn a_token_is_asked_for_first() {
    use fxsrv::auth::{Token, Tokens};
    for driver in DRIVERS {
        let store = start_with(driver, Wire::Tls, |config, _| {
            config.tokens = Tokens::Only(vec![Token::parse(support::TOKEN).unwrap()]);
        });
        let line = format!("AUTH {}\n", support::TOKEN);
        let mut client = store.connect();
        client.send(line.as_bytes(), Cut::Bytes);
        assert_eq!(client.read(1), [0]);
        assert_eq!(client.ask(b"\x80", HELP.len()), HELP);
        // Token and first request in one segment.
        let both = [line.as_bytes(), b"\x80"].concat();
        assert_eq!(store.connect().ask(&both, 1 + HELP.len()), [&[0], HELP].concat());
        for wrong in ["AUTH wrong\n", "AUTH \n", "\x21f\n", &"x".repeat(500), "auth x\n"] {
            assert_eq!(store.connect().ask_to_end(wrong.as_bytes()), [0x60], "{wrong:?}");
        }
    }
}

#[test]
fn limits_refuse_and_the_connection_goes_on() {
    for driver in DRIVERS {
        let store = start_with(driver, Wire::Tls, |_, limits| {
            limits.file_bytes_max = 1000;
            limits.files_max = 2;
            limits.total_bytes_max = 1500;
            limits.connections_per_address_max = 2;
        });
        let mut client = store.connect();
        assert_eq!(client.ask(&put("a", &[0; 1001]), 1), [0xa0]);
        assert_eq!(client.ask(&put("a", &[0; 1000]), 1), [0]);
        assert_eq!(client.ask(&put("b", &[0; 501]), 1), [0xa0]);
        assert_eq!(client.ask(&put("b", &[0; 500]), 1), [0]);
        assert_eq!(client.ask(&put("c", b""), 1), [0xa0]);
        // In place of another a file takes no place, and gives back what that took.
        assert_eq!(client.ask(&put("b", b""), 1), [0]);
        assert_eq!(client.ask(&put("b", &[0; 500]), 1), [0]);
        let second = store.connect_and_ask();
        assert_eq!(store.connect().ask_to_end(b"\x80"), [0xa0]);
        drop(second);
        eventually("the end of a connection", || store.connect().ask_any(b"\x80") != [0xa0]);
    }
}

#[test]
fn a_body_over_the_limit_is_refused_at_its_head() {
    for driver in DRIVERS {
        let store = start_with(driver, Wire::Tls, |_, limits| limits.file_bytes_max = 1 << 30);
        let mut client = store.connect();
        client.send(b"\x01f\xff\xff\xff\xff", Cut::Whole);
        assert_eq!(client.read(1), [0xa0]);
        // The client is heard out, so that a reset does not take the answer away.
        client.send(&[0; 100_000], Cut::Whole);
        client.ends_in_order();
    }
}

#[test]
fn refused_names_touch_nothing() {
    over_all(|store| {
        std::fs::create_dir(store.root().join("dir")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", store.root().join("link")).unwrap();
        let mut client = store.connect();
        for name in ["../x", "/etc/x", "a/b", ".", "..", "a\0b", "a\nb", ".fxsrv-tmp-0", ""] {
            let whole = put(name, b"x");
            assert_eq!(client.ask(&whole, 1), [0xa0], "{name:?}");
            if !name.is_empty() {
                let get = [&[0x20 | name.len() as u8], name.as_bytes()].concat();
                assert_eq!(client.ask(&get, 1), [0xa0], "{name:?}");
            }
        }
        for get in [&b"\x23dir"[..], b"\x24link", b"\x63dir", b"\x64link"] {
            let answer = client.ask(get, 1);
            assert!(matches!(answer[0], 0x60 | 0xa0), "{get:?}: {answer:?}");
        }
        assert_eq!(client.ask(&put("dir", b"x"), 1), [0xa0]);
        assert_eq!(client.ask(b"\x43dir\x01x", 1), [0x60]);
        // A link is replaced, not followed.
        assert_eq!(client.ask(&put("link", b"x"), 1), [0]);
        assert_eq!(client.get("link").unwrap(), b"x");
        assert_eq!(store.names(), ["dir", "link"]);
    });
}

#[test]
fn a_flipped_byte_on_the_disk_is_an_error() {
    over_all(|store| {
        let mut client = store.connect();
        let large = vec![b'1'; 1 << 20];
        for (name, data) in [("small", &b"1\n"[..]), ("large", &large)] {
            assert_eq!(client.ask(&put(name, data), 1), [0]);
            let path = store.root().join(name);
            let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            file.write_all(b"2").unwrap();
        }
        assert_eq!(client.ask(b"\x25small", 1), [0xa0]);
        assert_eq!(client.ask(b"\x65small", 1), [0xa0]);
        // What is larger than the first step is cut off before its end.
        let mut damaged = store.connect();
        damaged.send(b"\x25large", Cut::Whole);
        assert!(damaged.read_to_cut().unwrap() < large.len());
        assert_eq!(client.ask(b"\x80", HELP.len()), HELP, "others are not concerned");
    });
}

#[test]
fn requests_that_come_together_are_answered_though_the_last_is_cut() {
    over_all(|store| {
        let mut client = store.connect();
        let (small, large) = (vec![5; 1024], vec![6; 100_000]);
        assert_eq!(client.ask(&put("s", &small), 1), [0]);
        assert_eq!(client.ask(&put("l", &large), 1), [0]);
        let answer = |name: &str, data: &[u8]| {
            let size = u32::try_from(data.len()).unwrap().to_be_bytes();
            [&[0x20 | name.len() as u8], name.as_bytes(), &size, data].concat()
        };
        // More than a send window holds, one that fits none, a refusal, one that takes its time.
        let mut requests = b"\x21s".repeat(40);
        let mut expected = answer("s", &small).repeat(40);
        for (request, answer) in [
            (&b"\x21l"[..], answer("l", &large)),
            (b"\x21s", answer("s", &small)),
            (b"\x21x", vec![0x60]),
            (b"\x01t\0\0\0\x011", vec![0]),
            (b"\x21t", answer("t", b"1")),
            (b"\x21s", answer("s", &small)),
        ] {
            requests.extend_from_slice(request);
            expected.extend_from_slice(&answer);
        }
        requests.extend_from_slice(b"\x24na");
        client.send(&requests, Cut::Whole);
        assert!(client.read(expected.len()) == expected, "all answers but the last");
        assert_eq!(client.ask(b"me", 1), [0x60]);
        client.ends_in_order();
    });
}

#[test]
fn a_file_whose_place_was_taken_meanwhile_counts_as_new() {
    for driver in DRIVERS {
        let store = start_with(driver, Wire::Plain, |_, limits| limits.files_max = 2);
        let (mut slow, mut other) = (store.connect(), store.connect());
        assert_eq!(other.ask(&put("a", b"1"), 1), [0]);
        assert_eq!(other.ask(&put("b", b"2"), 1), [0]);
        let whole = put("a", &[3; 5000]);
        slow.send(&whole[..4000], Cut::Whole);
        eventually("the draft", || store.own_names().len() == 1);
        assert_eq!(other.ask(b"\x41a\x01c", 1), [0]);
        slow.send(&whole[4000..], Cut::Whole);
        assert_eq!(slow.read(1), [0xa0], "a third file");
        assert_eq!(store.names(), ["b", "c"]);
        // The place that it took is free again.
        assert_eq!(other.ask(&put("b", b"4"), 1), [0]);
        assert_eq!(store.own_names(), Vec::<String>::new());
    }
}

#[test]
fn a_damaged_checksum_is_an_error_and_not_a_missing_one() {
    over_all(|store| {
        let mut client = store.connect();
        assert_eq!(client.ask(&put("f", b"1\n"), 1), [0]);
        let path = store.root().join("f");
        let flags = rustix::fs::XattrFlags::REPLACE;
        rustix::fs::setxattr(&path, "user.fxsrv.xxh3", b"zz", flags).unwrap();
        assert_eq!(client.ask(b"\x21f", 1), [0xa0]);
        assert_eq!(client.ask(b"\x61f", 1), [0xa0]);
    });
}

#[test]
fn a_drain_lets_a_transfer_end() {
    for driver in DRIVERS {
        let store = start(driver, Wire::Tls);
        let mut client = store.connect();
        let whole = put("f", &[3; 200_000]);
        client.send(&whole[..100_000], Cut::Whole);
        std::thread::sleep(Duration::from_millis(50));
        store.drain();
        client.send(&whole[100_000..], Cut::Whole);
        assert_eq!(client.read(1), [0]);
    }
}
