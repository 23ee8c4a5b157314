//! What is answered to a path and a query: a function, for any server.

use std::io;
use std::time::{Duration, SystemTime};
use std::{fmt, thread};

use heaptally_profile::export::{flamegraph, json, pprof, prometheus};

use super::page::PAGE;
use super::query::Query;
use super::top::top;
use crate::{Grouping, Rank, engine, tally};

/// The longest delta, in seconds.
const MOST_SECONDS: u64 = 3600;
const MOST_ROWS: usize = 1000;
const DEFAULT_ROWS: usize = 20;

/// An answer: a status, a content type and a body.
#[derive(Clone, Debug)]
pub struct Response {
    status: u16,
    content_type: &'static str,
    file_name: Option<&'static str>,
    body: Vec<u8>,
}

impl Response {
    /// A plain sentence.
    pub(super) fn sentence(status: u16, sentence: impl fmt::Display) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            file_name: None,
            body: format!("{sentence}\n").into(),
        }
    }

    fn ok(content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status: 200, content_type, file_name: None, body }
    }

    /// The HTTP status: 200, or 400 for a bad parameter, 404 for a path that is none, 500 when an answer could not be made.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The content type, and what else is to be in the head: names and values. All answers are of their moment, so that
    /// none is to be kept.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("Content-Type", self.content_type.to_owned()),
            ("Cache-Control", "no-store".to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
        ];
        if let Some(name) = self.file_name {
            headers.push(("Content-Disposition", format!("attachment; filename=\"{name}\"")));
        }
        headers
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body, owned.
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }
}

/// Answers a GET: `path` begins with a slash, `query` is what comes after the `?`, if anything does. The table of paths is
/// the [module's](crate::http).
///
/// Blocks as long as a [snapshot](crate::snapshot) does, and with `seconds=N` for `N` seconds more: in an async program call
/// it through `spawn_blocking`. What it allocates is heaptally's own, but for the response.
///
/// # Examples
///
/// ```
/// # #[global_allocator]
/// # static ALLOC: heaptally::TallyAlloc = heaptally::TallyAlloc::system();
/// # fn main() {
/// let response = heaptally::http::respond("/metrics", "top=5");
/// assert_eq!(response.status(), 200);
/// assert_eq!(heaptally::http::respond("/debug/pprof/heap", "seconds=0").status(), 400);
/// assert_eq!(heaptally::http::respond("/heap", "").status(), 404);
/// # }
/// ```
pub fn respond(path: &str, query: &str) -> Response {
    engine::internal(|| match route(path, Query::parse(query)) {
        Ok(response) => response,
        Err(Refusal::Parameter(sentence)) => Response::sentence(400, sentence),
        Err(Refusal::Path) => Response::sentence(404, "there is nothing at this path; `/` has links to what there is"),
        Err(Refusal::Export(error)) => Response::sentence(500, format_args!("the answer could not be made: {error}")),
    })
}

enum Refusal {
    Parameter(String),
    Path,
    Export(io::Error),
}

impl From<String> for Refusal {
    fn from(sentence: String) -> Self {
        Self::Parameter(sentence)
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Export(error)
    }
}

fn route(path: &str, mut query: Query<'_>) -> Result<Response, Refusal> {
    let mut body = Vec::new();
    match path {
        "/" => {
            query.finish()?;
            Ok(Response::ok("text/html; charset=utf-8", PAGE.into()))
        }
        "/debug/pprof/heap" => profile(query, "heap.pb.gz", Rank::LiveBytes),
        "/debug/pprof/allocs" => profile(query, "allocs.pb.gz", Rank::AllocatedBytes),
        "/flamegraph.svg" => {
            let value = value(&mut query)?;
            query.finish()?;
            flamegraph::write(&crate::snapshot(), value, &mut body)?;
            Ok(Response::ok("image/svg+xml", body))
        }
        "/metrics" => {
            let rows = query.number("top", 0..=MOST_ROWS)?.unwrap_or(DEFAULT_ROWS);
            query.finish()?;
            prometheus::write(&crate::snapshot(), rows, &mut body)?;
            Ok(Response::ok(prometheus::CONTENT_TYPE, body))
        }
        "/snapshot.json" => {
            query.finish()?;
            json::write(&crate::snapshot(), &mut body)?;
            Ok(Response::ok("application/json", body))
        }
        "/top.json" => {
            let rows = query.number("top", 0..=MOST_ROWS)?.unwrap_or(DEFAULT_ROWS);
            query.finish()?;
            Ok(Response::ok("application/json", top(&crate::snapshot(), rows).to_string().into()))
        }
        "/suspects" => {
            query.finish()?;
            Ok(tracked(|tally| tally.suspects().to_string()))
        }
        "/peak" => {
            query.finish()?;
            Ok(tracked(|tally| tally.peak().to_string()))
        }
        _ => Err(Refusal::Path),
    }
}

/// A text that only running tracking has.
fn tracked(text: impl FnOnce(crate::Tally) -> String) -> Response {
    let not_started = || "tracking was not started: call heaptally::start".to_owned();
    let text = tally().map_or_else(not_started, text);
    Response::ok("text/plain; charset=utf-8", format!("{text}\n").into())
}

fn value(query: &mut Query<'_>) -> Result<Rank, String> {
    match query.text("value") {
        None | Some("live_bytes") => Ok(Rank::LiveBytes),
        Some("live_blocks") => Ok(Rank::LiveBlocks),
        Some("allocated_bytes") => Ok(Rank::AllocatedBytes),
        Some("allocated_blocks") => Ok(Rank::AllocatedBlocks),
        Some(_) => Err("`value` must be live_bytes, live_blocks, allocated_bytes or allocated_blocks".to_owned()),
    }
}

/// A profile of now, or of the seconds to come. The parameters are those of Go's `net/http/pprof`; `gc` asks for a
/// collection there, of which there is none here.
fn profile(mut query: Query<'_>, file_name: &'static str, shown: Rank) -> Result<Response, Refusal> {
    let seconds = query.number("seconds", 1..=MOST_SECONDS)?;
    query.number("gc", 0..=1_u8)?;
    if query.number("debug", 0..=2_u8)?.is_some_and(|level| level > 0) {
        return Err(Refusal::Parameter(
            "`debug` asks for text, which `/` and `/suspects` have; leave it out".to_owned(),
        ));
    }
    query.finish()?;
    let mut body = Vec::new();
    let before = crate::snapshot();
    match seconds {
        None => pprof::write(&before, shown, SystemTime::now(), &mut body)?,
        Some(seconds) => {
            thread::sleep(Duration::from_secs(seconds));
            let change = crate::snapshot().since_by(&before, Grouping::Stack);
            pprof::write_diff(&change, shown, SystemTime::now(), &mut body)?;
        }
    }
    Ok(Response { file_name: Some(file_name), ..Response::ok("application/octet-stream", body) })
}
