//! How master and workers are, from the master's own answer, once or once a second.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use hyper::body::Frame;
use serde_json::{Map, Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::app::{App, Peer};
use super::master;
use super::openapi::ProblemDocument;
use super::problem::Problem;
use crate::auth::Token;
use crate::client::ClientError;
use crate::wire::Code;

/// Between two events of a listener.
const PERIOD: Duration = Duration::from_secs(1);

/// Numbers of the master that only rise, and what they are a second.
const RATES: [(&str, &str); 3] = [
    ("requests_ended", "requests_per_s"),
    ("body_bytes_in", "bytes_in_per_s"),
    ("body_bytes_out", "bytes_out_per_s"),
];

/// The master's answer at one moment.
struct Sample {
    at: Instant,
    master: Map<String, Value>,
    workers: Vec<Map<String, Value>>,
}

/// How master and workers are
#[utoipa::path(
    get, path = "/v1/status", tag = "status", security((), ("token" = [])),
    responses(
        (status = 200, description = "As of now", body = Value),
        (status = "4XX", description = "The request is refused",
            body = ProblemDocument, content_type = "application/problem+json"),
        (status = "5XX", description = "The servers could not do it",
            body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn status(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let _place = app.enter(peer)?;
    let sample = ask(app.token(&headers)?).await?;
    // A first look has nothing to compare with.
    Ok(Json(sample.report(None)))
}

/// How master and workers are, once a second
#[utoipa::path(
    get, path = "/v1/status/events", tag = "status", security((), ("token" = [])),
    responses(
        (status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream"),
        (status = "4XX", description = "The request is refused",
            body = ProblemDocument, content_type = "application/problem+json"),
        (status = "5XX", description = "The servers could not do it",
            body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn events(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let listener = app.listen()?;
    let token = app.token(&headers)?;
    let first = ask(token.clone()).await?;
    let (tell, events) = mpsc::channel(1);
    master::beside(move |_| publish(token, first, tell));
    let mut response = Body::new(Events { events, _listener: listener }).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}

/// Tells a listener how it is until the listener leaves, or may not know any more.
async fn publish(token: Token, first: Sample, tell: mpsc::Sender<Bytes>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    let (mut before, mut event) = (None, first.event(None));
    let mut last = Some(first);
    loop {
        if tell.send(event).await.is_err() {
            return;
        }
        tokio::select! {
            _ = ticks.tick() => {}
            () = tell.closed() => return,
        }
        match ask(token.clone()).await {
            Ok(sample) => {
                before = last.take().or(before);
                event = sample.event(before.as_ref());
                last = Some(sample);
            }
            Err(problem) if problem.code == Code::Unauthorized.name() => return,
            Err(problem) => {
                event = Bytes::from(format!("event: problem\ndata: {}\n\n", problem.to_json("")));
            }
        }
    }
}

/// The master's status, as far as `token` lets it be known.
async fn ask(token: Token) -> Result<Sample, Problem> {
    let asking = master::beside(|master| async move {
        let mut connection = master.connect(token).await?;
        let text = connection.status().await;
        master.keep(connection);
        text
    });
    let stopping = || Problem::of(Code::ShuttingDown, "the gateway is about to stop");
    let text = asking.ok_or_else(stopping)?.await.map_err(|_| stopping())?;
    text.map(|text| Sample::parse(&text)).map_err(|error: ClientError| error.into())
}

/// Whether the master serves who shows `token`.
pub(super) async fn authorize(token: Token) -> Result<(), Problem> {
    ask(token).await.map(|_| ())
}

impl Sample {
    /// Reads lines of `key=value`; what is said of a worker stands under `worker.N.`.
    fn parse(text: &str) -> Self {
        let mut sample = Self { at: Instant::now(), master: Map::new(), workers: Vec::new() };
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let value = value.parse::<u64>().map_or_else(|_| value.into(), Value::from);
            let of_worker = key.strip_prefix("worker.").and_then(|rest| rest.split_once('.'));
            match of_worker.and_then(|(number, key)| Some((number.parse::<usize>().ok()?, key))) {
                // They are told in order, so that a number beyond the next is none of theirs.
                Some((number @ 1.., key)) if number <= sample.workers.len() + 1 => {
                    sample.workers.resize_with(sample.workers.len().max(number), Map::new);
                    let name = if key == "in_flight_bytes" { "bytes_in_flight" } else { key };
                    sample.workers[number - 1].insert(name.to_owned(), value);
                }
                Some(_) => {}
                None => drop(sample.master.insert(key.to_owned(), value)),
            }
        }
        sample
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.master.get(key)?.as_u64()
    }

    fn report(&self, before: Option<&Self>) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let quantile = |name: &str| {
            // Microseconds as milliseconds: a double has the precision for it.
            #[allow(clippy::cast_precision_loss)]
            self.number(&format!("total_us_{name}"))
                .map_or(Value::Null, |us| (us as f64 / 1000.0).into())
        };
        json!({
            "time": u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            "master": self.master,
            "workers": self.workers,
            "rates": RATES.map(|(key, name)| (name.to_owned(), self.rate(before, key))).into_iter().collect::<Map<_, _>>(),
            "latency_ms": {
                "p50": quantile("p50"), "p90": quantile("p90"), "p99": quantile("p99"),
            },
        })
    }

    fn event(&self, before: Option<&Self>) -> Bytes {
        Bytes::from(format!("data: {}\n\n", self.report(before)))
    }

    /// How much `key` rises a second; nothing where the master has begun anew in between.
    #[allow(clippy::cast_precision_loss, reason = "a rate needs no more digits than a double has")]
    fn rate(&self, before: Option<&Self>, key: &str) -> Value {
        let rate = before.and_then(|before| {
            let risen = self.number(key)?.checked_sub(before.number(key)?)?;
            let seconds = self.at.duration_since(before.at).as_secs_f64();
            (seconds > 0.0).then(|| (risen as f64 / seconds * 10.0).round() / 10.0)
        });
        rate.map_or(Value::Null, Value::from)
    }
}

/// The body of a listener's answer.
struct Events {
    events: mpsc::Receiver<Bytes>,
    _listener: OwnedSemaphorePermit,
}

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.events.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TEXT: &str = "role=master\nversion=0.1.0\nrequests_ended=10\nbody_bytes_in=1000\n\
        total_us_p50=1500\ntotal_us_p99=99000\nworker.1.address=127.0.0.1:6000\n\
        worker.1.state=healthy\nworker.1.in_flight_bytes=7\nworker.2.slots=2\n\
        worker.9.slots=2\nworker.x.slots=2\nnoise";

    #[test]
    fn a_status_is_told_in_parts() {
        let report = Sample::parse(TEXT).report(None);
        assert_eq!(report["master"]["role"], "master");
        assert_eq!(report["master"]["requests_ended"], 10);
        let first = json!({"address": "127.0.0.1:6000", "state": "healthy", "bytes_in_flight": 7});
        assert_eq!(report["workers"], json!([first, {"slots": 2}]));
        assert_eq!(report["latency_ms"], json!({"p50": 1.5, "p90": null, "p99": 99.0}));
        assert_eq!(report["rates"]["requests_per_s"], Value::Null);
    }

    #[test]
    fn a_rate_is_what_two_samples_differ_in() {
        let before = Sample::parse(TEXT);
        let mut now = Sample::parse("requests_ended=30\nbody_bytes_in=500");
        now.at = before.at + Duration::from_secs(2);
        let rates = now.report(Some(&before))["rates"].clone();
        assert_eq!(rates["requests_per_s"], 10.0);
        assert_eq!(rates["bytes_in_per_s"], Value::Null, "the master began anew");
    }
}
