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
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use utoipa::ToSchema;

use super::app::{App, Peer};
use super::master;
use super::openapi::Refusals;
use super::problem::Problem;
use crate::admin;
use crate::auth::Token;
use crate::client::ClientError;
use crate::wire::Code;

/// Between two events of a listener.
const PERIOD: Duration = Duration::from_secs(1);

/// The master's answer at one moment.
struct Sample {
    at: Instant,
    master: Map<String, Value>,
    workers: Vec<Map<String, Value>>,
}

/// How master and workers are.
#[derive(Serialize, ToSchema)]
pub(super) struct Report {
    /// Milliseconds since 1970.
    time: u64,
    /// What the master counts: numbers, and a few texts. docs/status.md names them.
    #[schema(value_type = HashMap<String, Value>)]
    master: Map<String, Value>,
    /// The same of each worker, as docs/fleet.md names them.
    #[schema(value_type = Vec<HashMap<String, Value>>)]
    workers: Vec<Map<String, Value>>,
    rates: Rates,
    latency_ms: Latencies,
}

/// Since the report before; nothing in a first one.
#[derive(Serialize, ToSchema)]
#[allow(clippy::struct_field_names, reason = "each says its unit, as it is sent")]
struct Rates {
    requests_per_s: Option<f64>,
    bytes_in_per_s: Option<f64>,
    bytes_out_per_s: Option<f64>,
}

/// Of all requests since the start of the master.
#[derive(Serialize, ToSchema)]
struct Latencies {
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
}

/// How master and workers are
#[utoipa::path(
    get, path = "/v1/status", tag = "status", security((), ("token" = [])),
    responses(
        (status = 200, description = "As of now", body = Report),
        Refusals,
    )
)]
pub(super) async fn status(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Json<Report>, Problem> {
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
        Refusals,
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

/// Why files would not be converted now. Without a token of its own the gateway knows no more than
/// whether the master can be reached.
pub(super) async fn why_not_ready(app: &App) -> Option<String> {
    let Some(token) = app.config().token.clone() else {
        let connecting = master::beside(|master| async move {
            let connection = master.connect(Token::generate().ok()?).await.ok()?;
            master.keep(connection);
            Some(())
        });
        let is_there = connecting?.await.ok().flatten().is_some();
        return (!is_there).then(|| "the master cannot be reached".to_owned());
    };
    match ask(token).await {
        Ok(sample) => {
            (sample.number("workers_ready") == Some(0)).then(|| admin::NO_WORKER.to_owned())
        }
        Err(problem) => Some(problem.detail),
    }
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

    fn report(&self, before: Option<&Self>) -> Report {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Microseconds as milliseconds: a double has the precision for it.
        #[allow(clippy::cast_precision_loss)]
        let quantile = |name| self.number(name).map(|us| us as f64 / 1000.0);
        Report {
            time: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            master: self.master.clone(),
            workers: self.workers.clone(),
            rates: Rates {
                requests_per_s: self.rate(before, "requests_ended"),
                bytes_in_per_s: self.rate(before, "body_bytes_in"),
                bytes_out_per_s: self.rate(before, "body_bytes_out"),
            },
            latency_ms: Latencies {
                p50: quantile("total_us_p50"),
                p90: quantile("total_us_p90"),
                p99: quantile("total_us_p99"),
            },
        }
    }

    fn event(&self, before: Option<&Self>) -> Bytes {
        // All that is in it has a form in JSON.
        let report = serde_json::to_string(&self.report(before)).unwrap_or_default();
        Bytes::from(format!("data: {report}\n\n"))
    }

    /// How much `key` rises a second; nothing where the master has begun anew in between.
    #[allow(clippy::cast_precision_loss, reason = "a rate needs no more digits than a double has")]
    fn rate(&self, before: Option<&Self>, key: &str) -> Option<f64> {
        let before = before?;
        let risen = self.number(key)?.checked_sub(before.number(key)?)?;
        let seconds = self.at.duration_since(before.at).as_secs_f64();
        (seconds > 0.0).then(|| (risen as f64 / seconds * 10.0).round() / 10.0)
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
    use serde_json::json;

    use super::*;

    const TEXT: &str = "role=master\nversion=0.1.0\nrequests_ended=10\nbody_bytes_in=1000\n\
        total_us_p50=1500\ntotal_us_p99=99000\nworker.1.address=127.0.0.1:6000\n\
        worker.1.state=healthy\nworker.1.in_flight_bytes=7\nworker.2.slots=2\n\
        worker.9.slots=2\nworker.x.slots=2\nnoise";

    #[test]
    fn a_status_is_told_in_parts() {
        let report = serde_json::to_value(Sample::parse(TEXT).report(None)).unwrap();
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
        let rates = now.report(Some(&before)).rates;
        assert_eq!(rates.requests_per_s, Some(10.0));
        assert_eq!(rates.bytes_in_per_s, None, "the master began anew");
    }
}
