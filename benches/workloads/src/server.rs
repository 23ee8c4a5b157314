//! The server of the workload `tokio`: reads requests as of HTTP, takes them apart into strings, and answers.
//!
//! What a small handler does without care for its allocations. Runs on tokio's threads.

use std::fmt::Write;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Above the longest request.
const BUFFER_BYTES: usize = 1024;
pub(crate) const END_OF_HEAD: &[u8] = b"\r\n\r\n";

pub(crate) async fn serve(listener: TcpListener) {
    // An error ends the server; its clients see that.
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream));
    }
}

/// Until the client closes it.
async fn connection(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        // A client waits for the answer before it asks again, so nothing follows the head.
        if buffer[..filled].ends_with(END_OF_HEAD) {
            let response = answer(&buffer[..filled]).await;
            stream.write_all(response.as_bytes()).await?;
            filled = 0;
        }
    }
}

/// As a handler behind a router.
async fn answer(head: &[u8]) -> String {
    let body = match Request::parse(&String::from_utf8_lossy(head)) {
        Some(request) => request.items().await,
        None => "{}".to_owned(),
    };
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

struct Request {
    path: Vec<String>,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
}

impl Request {
    fn parse(head: &str) -> Option<Self> {
        let mut lines = head.lines();
        let target = lines.next()?.strip_prefix("GET /")?.strip_suffix(" HTTP/1.1")?;
        let (path, query) = target.split_once('?')?;
        let path = path.split('/').map(str::to_owned).collect();
        let query = query.split('&').filter_map(|pair| pair.split_once('='));
        let query = query.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Some(Self { path, query, headers })
    }

    async fn items(&self) -> String {
        let value = |pairs: &[(String, String)], wanted: &str| {
            pairs.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value).to_owned()
        };
        let session = value(&self.headers, "x-session");
        let limit: usize = value(&self.query, "limit").parse().unwrap_or(0);
        let mut body = format!("{{\"user\":\"{}\",\"session\":\"{session}\",\"items\":[", self.path.join("."));
        for item in 0..limit {
            let comma = if item == 0 { "" } else { "," };
            // Writing to a string cannot fail.
            let _ =
                write!(body, "{comma}{{\"id\":{item},\"name\":\"{}\"}}", format!("{session}-{item}").to_uppercase());
        }
        body.push_str("]}");
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_taken_apart() {
        let request = Request::parse("GET /a/b?limit=2&x=y HTTP/1.1\r\nHost: h\r\nX-Session: s1\r\n\r\n").unwrap();
        assert_eq!(request.path, ["a", "b"]);
        assert_eq!(request.query[1], ("x".to_owned(), "y".to_owned()));
        assert_eq!(request.headers[1], ("x-session".to_owned(), "s1".to_owned()));
        assert!(Request::parse("PUT / HTTP/1.1\r\n\r\n").is_none());
    }
}
