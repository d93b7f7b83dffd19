//! The verbs on both drivers, each test named for the trap that it would fall into.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::*;

const DRIVERS: [Driver; 2] = [Driver::Uring, Driver::Epoll];

/// Runs `test` on each driver, with a listener on a free port of loopback.
pub(super) fn on_both(test: impl AsyncFn(Driver, Listener, SocketAddr)) {
    for driver in DRIVERS {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        driver
            .run(async {
                test(driver, Listener::from_std(driver, listener).unwrap(), address).await;
            })
            .unwrap();
    }
}

/// One accepted connection and the plain client at its other end.
pub(super) async fn accepted(listener: &Listener, address: SocketAddr) -> (Socket, TcpStream) {
    let client = std::thread::spawn(move || TcpStream::connect(address).unwrap());
    let socket = Rc::new(RefCell::new(None));
    let stop = {
        let socket = Rc::clone(&socket);
        async move {
            while socket.borrow().is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    listener.accept_until(stop, |accepted| *socket.borrow_mut() = Some(accepted)).await;
    (socket.take().unwrap(), client.join().unwrap())
}

fn sending(bytes: &[u8]) -> SendWindow {
    let mut window = SendWindow::new(Buffer::heap(bytes.len().max(1)));
    window.room_mut()[..bytes.len()].copy_from_slice(bytes);
    window.commit(bytes.len());
    window
}

#[test]
fn what_is_written_arrives_and_the_window_is_empty_after() {
    on_both(async |driver, listener, address| {
        let (socket, mut client) = accepted(&listener, address).await;
        let (pool, _) = BufferPool::new(driver, &PoolPlan::small(8), 1).unwrap();
        let [recv, send] = pool.acquire::<2>().await;
        let (mut recv, mut send) = (RecvWindow::new(recv), SendWindow::new(send));
        client.write_all(b"ping").unwrap();
        assert_eq!(socket.read_into(&mut recv).await.unwrap(), 4);
        assert_eq!(recv.unread(), b"ping");
        send.room_mut()[..4].copy_from_slice(b"pong");
        send.commit(4);
        socket.write_all(&mut send).await.unwrap();
        assert!(send.is_empty());
        socket.shutdown(Shutdown::Write);
        let mut got = String::new();
        client.read_to_string(&mut got).unwrap();
        assert_eq!(got, "pong");
        client.shutdown(Shutdown::Both).unwrap();
        recv.discard(4);
        assert_eq!(socket.read_into(&mut recv).await.unwrap(), 0);
    });
}

#[test]
fn more_than_the_kernel_takes_at_once_is_written_whole() {
    on_both(async |_, listener, address| {
        let (socket, mut client) = accepted(&listener, address).await;
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            client.read_to_end(&mut got).unwrap();
            got
        });
        let bytes: Vec<u8> = (0..20_000_000_u32).map(|i| (i % 251) as u8).collect();
        socket.write_all(&mut sending(&bytes)).await.unwrap();
        drop(socket);
        assert!(reader.join().unwrap() == bytes);
    });
}

#[test]
fn a_deadline_ends_a_read_gives_the_buffer_back_and_sends_fin() {
    on_both(async |driver, listener, address| {
        let (socket, mut client) = accepted(&listener, address).await;
        let (pool, _) = BufferPool::new(driver, &PoolPlan::small(8), 1).unwrap();
        let [buffer] = pool.acquire::<1>().await;
        let mut window = RecvWindow::new(buffer);
        socket.set_deadline(Some(Instant::now() + Duration::from_millis(20)));
        let error = socket.read_into(&mut window).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(socket.has_expired());
        assert!(window.capacity() > BUFFER_BYTES, "the operation gave the buffer back");
        drop(window);
        assert_eq!(pool.free_count(), 8);
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0, "the peer sees the end");
    });
}

#[test]
fn a_deadline_ends_a_write_to_a_peer_that_does_not_read() {
    on_both(async |_, listener, address| {
        let (socket, client) = accepted(&listener, address).await;
        socket.set_deadline(Some(Instant::now() + Duration::from_millis(100)));
        let error = socket.write_all(&mut sending(&vec![0; 64 << 20])).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(client);
    });
}

#[test]
fn a_recycled_buffer_shows_nothing_of_its_last_holder() {
    on_both(async |driver, listener, address| {
        let (socket, mut client) = accepted(&listener, address).await;
        let (pool, _) = BufferPool::new(driver, &PoolPlan::small(8), 1).unwrap();
        for secret in [b"a long secret of the first".as_slice(), b"two"] {
            for buffer in pool.acquire::<8>().await {
                let mut window = RecvWindow::new(buffer);
                client.write_all(secret).unwrap();
                let read = socket.read_into(&mut window).await.unwrap();
                assert_eq!(window.unread(), &secret[..read]);
                assert_eq!(read, secret.len());
            }
        }
    });
}

#[test]
fn a_stopped_listener_eats_no_connection_and_frees_its_port() {
    on_both(async |_, listener, address| {
        let clients: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
        let sockets = RefCell::new(Vec::new());
        let all_are_in = async {
            while sockets.borrow().len() < clients.len() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        listener.accept_until(all_are_in, |socket| sockets.borrow_mut().push(socket)).await;
        assert_eq!(open_sockets(), 20);
        drop(listener);
        drop(sockets);
        assert_eq!(open_sockets(), 0);
        drop(clients);
        assert!(listen(address).is_ok(), "the port is free again");
    });
}

#[test]
fn a_second_listener_on_the_port_is_refused() {
    let first = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = first.local_addr().unwrap();
    assert_eq!(listen(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn several_queues_share_a_port_and_let_nobody_else_in() {
    let mut queues = vec![listen("127.0.0.1:0".parse().unwrap()).unwrap()];
    for _ in 1..4 {
        queues.push(join_queue(&queues[0]).unwrap());
    }
    let address = queues[0].local_addr().unwrap();
    assert_eq!(listen(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    let clients: Vec<_> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut accepted = [0; 4];
    for (queue, count) in queues.iter().zip(&mut accepted) {
        queue.set_nonblocking(true).unwrap();
        while queue.accept().is_ok() {
            *count += 1;
        }
    }
    assert_eq!(accepted.iter().sum::<i32>(), 200, "{accepted:?}");
    // By chance a queue gets fewer than 20 of 200 once in 10^7 times.
    assert!(accepted.iter().all(|count| *count >= 20), "{accepted:?}");
    drop(clients);
}

#[test]
fn a_ring_knows_the_buffers_of_the_usual_size_and_never_the_large_ones() {
    for driver in DRIVERS {
        driver
            .run(async move {
                let bulk = Class { count: 2, bytes: BULK_BUFFER_BYTES };
                let plan = PoolPlan { bulk, ..PoolPlan::small(8) };
                let unknown = PoolPlan { is_registered: false, ..plan };
                assert!(!BufferPool::new(driver, &unknown, 1).unwrap().0.is_registered());
                let (pool, _) = BufferPool::new(driver, &plan, 1).unwrap();
                let is_registered = |buffer: &Buffer| match buffer.storage() {
                    buffer::Storage::Pooled { lease, .. } => lease.is_registered(),
                    _ => panic!("not of the pool"),
                };
                let large = pool.acquire_for::<2>(BULK_BUFFER_BYTES as u64).await;
                assert!(large.iter().all(|buffer| buffer.capacity() > BULK_BUFFER_BYTES));
                assert!(!large.iter().any(is_registered));
                // None of these is left.
                let small = pool.acquire_for::<2>(BULK_BUFFER_BYTES as u64).await;
                assert!(small.iter().all(|buffer| buffer.capacity() < BULK_BUFFER_BYTES));
                assert!(small.iter().all(is_registered) == (driver == Driver::Uring));
            })
            .unwrap();
    }
}

#[test]
fn buffers_are_taken_all_at_once_or_waited_for() {
    for driver in DRIVERS {
        driver
            .run(async move {
                let (pool, _) = BufferPool::new(driver, &PoolPlan::small(8), 1).unwrap();
                let held = pool.acquire::<6>().await;
                let waiter = spawn({
                    let pool = pool.clone();
                    async move { pool.acquire::<4>().await.len() }
                });
                tokio::task::yield_now().await;
                assert!(!waiter.is_finished(), "two are free and four are wanted");
                drop(held);
                assert_eq!(waiter.await.unwrap(), 4);
                assert_eq!(pool.free_count(), 8);
            })
            .unwrap();
    }
}

#[test]
fn a_pool_of_more_than_the_ring_keeps_is_refused_and_not_cut() {
    for driver in DRIVERS {
        driver
            .run(async move {
                let error =
                    BufferPool::new(driver, &PoolPlan::small(BUFFERS_MAX + 1), 1).unwrap_err();
                assert!(error.to_string().contains("1025 buffers"));
            })
            .unwrap();
    }
}

#[test]
fn a_write_to_a_peer_that_is_gone_is_an_error_and_no_signal() {
    on_both(async |_, listener, address| {
        let (socket, client) = accepted(&listener, address).await;
        drop(client);
        let started = Instant::now();
        loop {
            match socket.write_all(&mut sending(&[0; 4096])).await {
                Err(error) => {
                    let kind = error.kind();
                    assert!(matches!(
                        kind,
                        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                    ));
                    break;
                }
                Ok(()) => assert!(started.elapsed() < Duration::from_secs(5)),
            }
        }
    });
}

#[test]
fn a_read_and_a_write_run_beside_each_other() {
    on_both(async |_, listener, address| {
        let (socket, mut client) = accepted(&listener, address).await;
        let echo = std::thread::spawn(move || {
            let mut block = [0; 1024];
            loop {
                let read = client.read(&mut block).unwrap();
                if read == 0 {
                    break;
                }
                client.write_all(&block[..read]).unwrap();
            }
        });
        let mut window = RecvWindow::new(Buffer::heap(1 << 20));
        let mut send = sending(&vec![7; 1 << 20]);
        let (mut got, total) = (0, 1 << 20);
        let reading = async {
            while got < total {
                got += socket.read_into(&mut window).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(socket.write_all(&mut send), reading);
        written.unwrap();
        assert!(window.unread().iter().all(|&byte| byte == 7));
        socket.shutdown(Shutdown::Both);
        echo.join().unwrap();
    });
}

#[test]
fn a_wait_ends_with_so_many_bytes_or_with_the_end() {
    on_both(async |_, listener, address| {
        let (socket, client) = accepted(&listener, address).await;
        socket.set_low_water(1000);
        let mut window = RecvWindow::new(Buffer::heap(4096));
        // The read waits already when the first bytes come.
        let write = async |bytes: usize| {
            tokio::time::sleep(Duration::from_millis(20)).await;
            (&client).write_all(&vec![7; bytes]).unwrap();
        };
        let pieces = async {
            write(10).await;
            write(990).await;
        };
        let (read, ()) = tokio::join!(socket.read_into(&mut window), pieces);
        assert_eq!(read.unwrap(), 1000);
        window.discard(1000);
        let end = async {
            write(10).await;
            client.shutdown(Shutdown::Write).unwrap();
        };
        let (read, ()) = tokio::join!(socket.read_into(&mut window), end);
        assert_eq!(read.unwrap(), 10);
    });
}

#[test]
fn shutting_down_idle_sockets_leaves_busy_ones() {
    on_both(async |_, listener, address| {
        let (idle, mut idle_client) = accepted(&listener, address).await;
        // A listener that was stopped is over; the second pair needs its own.
        let second = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let second_address = second.local_addr().unwrap();
        let second = Listener::from_std(listener.driver(), second).unwrap();
        let (busy, mut busy_client) = accepted(&second, second_address).await;
        idle.set_idle(true);
        assert_eq!(open_sockets(), 2);
        shutdown_sockets(Which::Idle);
        let mut window = RecvWindow::new(Buffer::heap(8));
        assert_eq!(idle.read_into(&mut window).await.unwrap(), 0);
        idle.write_all(&mut sending(b"bye")).await.unwrap();
        assert_eq!(idle_client.read(&mut [0; 8]).unwrap(), 3, "leave can still be taken");
        busy_client.write_all(b"x").unwrap();
        assert_eq!(busy.read_into(&mut window).await.unwrap(), 1);
    });
}

#[test]
fn nobody_listening_is_an_error_at_once() {
    for driver in DRIVERS {
        let address = {
            let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
            listener.local_addr().unwrap()
        };
        let result = driver
            .run(async move { Socket::connect(driver, address, Duration::from_secs(5)).await })
            .unwrap();
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}

#[test]
fn epoll_is_taken_where_it_is_wished_for() {
    let choice = Driver::choose(Some(Driver::Epoll)).unwrap();
    assert_eq!(choice.driver, Driver::Epoll);
    assert!(choice.fallback.is_none());
}

#[test]
fn a_buffer_never_shows_its_bytes_in_a_log() {
    let mut buffer = Buffer::heap(4);
    buffer.bytes_mut().copy_from_slice(b"1234");
    assert_eq!(format!("{buffer:?}"), "Heap(4 bytes)");
}

#[test]
fn files_are_written_and_read_at_their_places() {
    for driver in DRIVERS {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::open(root.path()).unwrap();
        driver
            .run(async {
                let (pool, _) = BufferPool::new(driver, &PoolPlan::small(8), 1).unwrap();
                let [pooled] = pool.acquire::<1>().await;
                for mut buffer in [pooled, Buffer::heap(BUFFER_BYTES)] {
                    let inner = std::sync::Arc::new(dir.create_file("f").unwrap());
                    let file = File::new(driver, inner);
                    buffer.bytes_mut()[10..16].copy_from_slice(b"abcdef");
                    let (written, mut buffer) = file.write_all_at(buffer, 10..16, 100).await;
                    written.unwrap();
                    buffer.bytes_mut().fill(9);
                    let (read, buffer) = file.read_at(buffer, 5..8, 102).await;
                    assert_eq!(read.unwrap(), 3);
                    assert_eq!(&buffer.bytes()[4..9], b"\x09cde\x09");
                    let (read, _) = file.read_at(buffer, 0..50, 100).await;
                    assert_eq!(read.unwrap(), 6, "as far as the file goes");
                    dir.remove("f").unwrap();
                }
            })
            .unwrap();
    }
}

#[test]
fn a_directory_opens_what_is_directly_beneath_it() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("root/below")).unwrap();
    for path in ["outside", "root/inside", "root/below/deep"] {
        std::fs::write(root.path().join(path), path).unwrap();
    }
    std::os::unix::fs::symlink("inside", root.path().join("root/link")).unwrap();
    let dir = Dir::open(&root.path().join("root")).unwrap();
    assert!(dir.open_file("inside").is_ok());
    for bad in ["../outside", "/etc/passwd", "link", "missing", "."] {
        let opened = dir.open_file(bad).and_then(|file| file.metadata());
        assert!(opened.is_err() || opened.unwrap().is_dir(), "{bad}");
    }
    let taken = dir.rename("inside", "link", Rename::Keep).unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
    assert!(dir.try_lock().unwrap());
    assert!(!Dir::open(dir.path()).unwrap().try_lock().unwrap());
}

#[test]
fn work_that_blocks_leaves_the_loop_and_a_panic_is_an_error() {
    for driver in DRIVERS {
        driver
            .run(async {
                let here = std::thread::current().id();
                assert_ne!(blocking(move || std::thread::current().id()).await.unwrap(), here);
                assert!(blocking(|| assert_eq!(1, 2)).await.is_err());
            })
            .unwrap();
    }
}

#[test]
fn what_was_received_is_zeroed_before_another_gets_the_buffer() {
    on_both(async |driver, listener, address| {
        let (socket, mut client) = accepted(&listener, address).await;
        let plan =
            PoolPlan { bulk: Class { count: 2, bytes: BULK_BUFFER_BYTES }, ..PoolPlan::small(8) };
        let (pool, _) = BufferPool::new(driver, &plan, 1).unwrap();
        for bytes in [0, BULK_BUFFER_BYTES as u64] {
            let [buffer] = pool.acquire_for::<1>(bytes).await;
            let mut window = RecvWindow::new(buffer);
            client.write_all(b"somebody's file").unwrap();
            while window.unread_bytes() < 15 {
                socket.read_into(&mut window).await.unwrap();
            }
            // Read, moved to another buffer, and appended to.
            let [other] = pool.acquire_for::<1>(bytes).await;
            drop(window.replace_buffer(other));
            window.append(b"and more of it");
            window.discard(20);
            drop(window);
        }
        let (small, bulk) = (pool.acquire::<8>().await, pool.acquire_for::<2>(1 << 30).await);
        for buffer in small.iter().chain(&bulk) {
            assert!(buffer.bytes().iter().all(|byte| *byte == 0), "{driver}: {buffer:?}");
        }
        assert_eq!(bulk[0].capacity() / 1024, 260, "the bulk buffers were looked at");
    });
}

#[test]
fn what_a_file_or_a_holder_has_written_is_zeroed_too() {
    on_both(async |driver, _, _| {
        let (pool, _) = BufferPool::new(driver, &PoolPlan::small(8), 1).unwrap();
        let [mut written, plain] = pool.acquire::<2>().await;
        written.bytes_mut()[5000..5004].copy_from_slice(b"file");
        let mut window = SendWindow::new(plain);
        window.room_mut()[..4].copy_from_slice(b"file");
        window.commit(4);
        window.mark_plain();
        drop((written, window));
        for buffer in pool.acquire::<8>().await {
            assert!(buffer.bytes().iter().all(|byte| *byte == 0), "{driver}");
        }
    });
}
