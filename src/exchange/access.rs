//! The access log: a line of JSON for each request, on a thread of its own.
//!
//! A disk that is slow or full must not hold up a request: lines that find no room in the queue are
//! dropped and counted. Nothing of a body, a token or a name of a file is in a line.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use serde_json::json;

use super::{End, Head, spans};
use crate::auth::Moment;
use crate::metrics;

/// Lines on their way to the file: of about 300 bytes each, 1.2 MB.
const LINES_MAX: usize = 4096;

/// Where lines go. Its clones are one log; the default has no place, and drops them.
#[derive(Clone, Default)]
pub struct AccessLog(Option<SyncSender<Message>>);

enum Message {
    Line(String),
    Reopen,
}

/// How long the parts of a request took, in microseconds; those that are not known are left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// From its head to the last byte of its body.
    pub receive_us: Option<u64>,
    /// Waiting: at a worker for its turn and a slot, at a master for a worker and buffers.
    pub queue_us: Option<u64>,
    /// Being converted.
    pub convert_us: u64,
    /// From the end of the conversion to the last byte of the answer.
    pub send_us: Option<u64>,
}

/// A request that is over.
pub struct Access<'a> {
    /// Who asked.
    pub peer: SocketAddr,
    /// What for; unknown where the head was refused.
    pub head: Option<&'a Head>,
    /// What became of it.
    pub end: End,
    /// Bytes of the answer.
    pub bytes_out: u64,
    /// When it began.
    pub started: Instant,
    /// Its parts.
    pub times: Times,
    /// A master's: who converted.
    pub worker: Option<&'a str>,
}

impl AccessLog {
    /// A log that writes to what `open` opens, now and whenever it is to be opened again.
    ///
    /// # Errors
    ///
    /// It cannot be opened, or the thread not be started.
    pub fn start<W: Write + Send + 'static>(
        open: impl Fn() -> io::Result<W> + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, lines) = sync_channel(LINES_MAX);
        let file = open()?;
        let write = move || write_lines(&lines, file, &open);
        std::thread::Builder::new().name("access".to_owned()).spawn(write)?;
        Ok(Self(Some(sender)))
    }

    /// Opens the file anew, so that the one before can be moved away. What is on its way goes to the
    /// old one.
    pub fn reopen(&self) {
        if let Some(sender) = &self.0 {
            // The thread ends with the last of these, so that it is there.
            let _ = sender.send(Message::Reopen);
        }
    }

    /// Writes a line.
    fn write(&self, access: &Access<'_>) {
        let Some(sender) = &self.0 else { return };
        if sender.try_send(Message::Line(access.line())).is_err() {
            metrics::count(|here| here.access_lines_lost.add(1));
        }
    }
}

/// Writes what comes, and flushes when nothing more is there.
fn write_lines<W: Write>(lines: &Receiver<Message>, file: W, open: &dyn Fn() -> io::Result<W>) {
    let (mut file, mut is_failing) = (io::BufWriter::new(file), false);
    while let Ok(first) = lines.recv() {
        let mut written = Ok(());
        for message in std::iter::once(first).chain(lines.try_iter()) {
            match message {
                Message::Line(line) => written = written.and(file.write_all(line.as_bytes())),
                Message::Reopen => {
                    written = written.and(file.flush());
                    match open() {
                        Ok(anew) => file = io::BufWriter::new(anew),
                        Err(error) => tracing::error!(%error, "the access log stays the old file"),
                    }
                }
            }
        }
        let written = written.and_then(|()| file.flush());
        if let (Err(error), false) = (&written, is_failing) {
            tracing::error!(%error, "lines of the access log are lost");
        }
        is_failing = written.is_err();
    }
}

impl Access<'_> {
    /// Tells of the request where it is to be told: in `log`, in the span that it is in, and of its
    /// parts in the metrics.
    pub fn tell(&self, log: &AccessLog) {
        let Times { receive_us, queue_us, send_us, .. } = self.times;
        metrics::count(|here| {
            for (part, us) in [
                (&here.receive_us, receive_us),
                (&here.queue_us, queue_us),
                (&here.send_us, send_us),
            ] {
                if let Some(us) = us {
                    part.record(us);
                }
            }
        });
        spans::end(self);
        log.write(self);
    }

    fn line(&self) -> String {
        let total_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let Times { receive_us, queue_us, convert_us, send_us } = self.times;
        let value = json!({
            "time": Moment::now().to_string(),
            "peer": self.peer.to_string(),
            "id": self.head.and_then(|head| head.options.id.as_deref()),
            "token": self.head.and_then(|head| head.grant.name()),
            "version": self.head.map(|head| head.version.name()),
            "operation": self.head.map(|head| head.operation.name()),
            "code": self.end.name(),
            "bytes_in": self.head.map(|head| head.header.body_bytes()),
            "bytes_out": self.bytes_out,
            "receive_us": receive_us,
            "queue_us": queue_us,
            "convert_us": convert_us,
            "send_us": send_us,
            "total_us": total_us,
            "worker": self.worker,
        });
        format!("{value}\n")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};

    use super::*;
    use crate::wire::Code;

    /// Hands on what is written.
    struct Pipe(mpsc::Sender<String>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_json_and_go_to_the_file_that_is_open() {
        let (sender, got) = mpsc::channel();
        let opened = Arc::new(Mutex::new(0));
        let count = Arc::clone(&opened);
        let log = AccessLog::start(move || {
            *count.lock().unwrap() += 1;
            Ok(Pipe(sender.clone()))
        })
        .unwrap();
        let access = Access {
            peer: "192.0.2.1:5".parse().unwrap(),
            head: None,
            end: End::Failed(Code::Unauthorized),
            bytes_out: 7,
            started: Instant::now(),
            times: Times { queue_us: Some(3), ..Times::default() },
            worker: None,
        };
        access.tell(&log);
        let line = got.recv().unwrap();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["code"], "UNAUTHORIZED");
        assert_eq!((&value["bytes_out"], &value["queue_us"]), (&json!(7), &json!(3)));
        assert!(value["send_us"].is_null() && line.ends_with('\n'));
        log.reopen();
        access.tell(&log);
        got.recv().unwrap();
        assert_eq!(*opened.lock().unwrap(), 2);
        access.tell(&AccessLog::default());
    }
}
