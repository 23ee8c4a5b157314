//! What the server answers: the right status and type for each path, deltas side by side, and nothing to strangers.
#![cfg(not(heaptally_portable))]

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use heaptally::{Config, TallyAlloc, http};

#[global_allocator]
static ALLOC: TallyAlloc = TallyAlloc::system();

#[inline(never)]
fn keep(bytes: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(bytes))
}

/// Status line and heads, and the body.
fn ask(address: SocketAddr, head: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an end of the heads");
    let body = answer.split_off(end + 4);
    (String::from_utf8(answer).unwrap(), body)
}

fn get(address: SocketAddr, path: &str) -> (String, Vec<u8>) {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost"))
}

fn assert_answers(address: SocketAddr, path: &str, status: &str, content_type: &str) -> Vec<u8> {
    let (head, body) = get(address, path);
    assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {head}");
    assert!(head.contains(&format!("Content-Type: {content_type}\r\n")), "{path}: {head}");
    assert!(head.contains("Cache-Control: no-store\r\n"), "{path}: {head}");
    body
}

/// One connection may ask many things at once, whose answers then wait for each other: not in the thread that all others
/// wait for.
#[test]
fn a_client_that_asks_too_much_at_once_holds_up_neither_others_nor_the_end() {
    let server = http::serve("127.0.0.1:0").unwrap();
    let address = server.address();
    let request = |path| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let begin = |requests: String| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(requests.as_bytes()).unwrap();
        stream
    };
    let status = |patience| {
        let mut stream = begin(request("/"));
        stream.set_read_timeout(Some(patience)).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).ok().map(|()| String::from_utf8(status.to_vec()).unwrap())
    };
    // More than are answered at once, and than may wait.
    let mut greedy = vec![begin(request("/debug/pprof/heap?seconds=3600") + &request("/").repeat(200))];
    for _ in 0..20 {
        assert_eq!(status(Duration::from_secs(20)).as_deref(), Some("HTTP/1.1 200"));
        thread::sleep(Duration::from_millis(10));
    }
    // Until there is no room for another one. tiny_http lets some wait that come while it wakes a thread for one before.
    while status(Duration::from_secs(1)).as_deref() != Some("HTTP/1.1 503") {
        assert!(greedy.len() < 200);
        greedy.push(begin(request("/debug/pprof/heap?seconds=3600")));
    }
    drop(server);
    let begun = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the server outlives its handle");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn every_path_is_answered_and_nothing_else() {
    let server = http::serve("127.0.0.1:0").unwrap();
    let address = server.address();
    let plain = "text/plain; charset=utf-8";
    // Before the start there are totals, and what needs more says so.
    let body = assert_answers(address, "/suspects", "200", plain);
    assert_eq!(body, b"tracking was not started: call heaptally::start\n");

    let tally = heaptally::start(Config::new().modules(["http"])).unwrap();
    let kept = keep(1_234_567);
    let page = assert_answers(address, "/", "200", "text/html; charset=utf-8");
    assert!(page.starts_with(b"<!doctype html>"));
    for path in ["/debug/pprof/heap", "/debug/pprof/allocs", "/debug/pprof/heap?gc=1&debug=0"] {
        let body = assert_answers(address, path, "200", "application/octet-stream");
        assert!(body.starts_with(&[0x1F, 0x8B]), "{path}: gzip begins otherwise");
    }
    let body = assert_answers(address, "/flamegraph.svg?value=allocated_bytes", "200", "image/svg+xml");
    assert!(String::from_utf8(body).unwrap().contains("http::keep"));
    let body = assert_answers(address, "/metrics?top=3", "200", "text/plain; version=0.0.4; charset=utf-8");
    assert!(String::from_utf8(body).unwrap().contains("http::keep"));
    let body = assert_answers(address, "/top.json?top=1", "200", "application/json");
    let top: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&top["rows"][0]["function"], &top["rows"][0]["live_bytes"]), (&"http::keep".into(), &1_234_567.into()));
    assert_eq!(top["rows"].as_array().map(Vec::len), Some(1));
    let body = assert_answers(address, "/snapshot.json", "200", "application/json");
    assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
    assert_answers(address, "/peak", "200", plain);
    assert_answers(address, "/suspects", "200", plain);

    for path in ["/heap", "/debug/pprof", "/debug/pprof/heap/", "/../etc/passwd", "//"] {
        assert_answers(address, path, "404", plain);
    }
    for path in [
        "/debug/pprof/heap?seconds=0",
        "/debug/pprof/heap?seconds=3601",
        "/debug/pprof/heap?seconds=x",
        "/debug/pprof/heap?debug=1",
        "/metrics?top=-1",
        "/metrics?top=99999",
        "/flamegraph.svg?value=live",
        "/?what",
        "/top.json?rows=5",
    ] {
        let body = assert_answers(address, path, "400", plain);
        assert!(body.ends_with(b"\n") && body.len() > 20, "{path}: {body:?}");
    }
    // Of a HEAD, the heads alone; of others nothing.
    let (head, body) = ask(address, "HEAD /metrics HTTP/1.1\r\nHost: localhost");
    assert!(head.starts_with("HTTP/1.1 200") && body.is_empty(), "{head}");
    let (head, _) = ask(address, "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0");
    assert!(head.starts_with("HTTP/1.1 405"), "{head}");
    // A page of another host, whose name was made to lead here.
    let (head, _) = ask(address, "GET /metrics HTTP/1.1\r\nHost: example.com");
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");

    // Two deltas at once, and others meanwhile; what is allocated in the time is in both.
    let begun = Instant::now();
    thread::scope(|scope| {
        let deltas =
            [2, 3].map(|seconds| scope.spawn(move || get(address, &format!("/debug/pprof/heap?seconds={seconds}"))));
        thread::sleep(Duration::from_millis(500));
        assert_answers(address, "/metrics", "200", "text/plain; version=0.0.4; charset=utf-8");
        assert!(begun.elapsed() < Duration::from_secs(2), "the deltas held up another request");
        for delta in deltas {
            let (head, body) = delta.join().unwrap();
            assert!(head.starts_with("HTTP/1.1 200") && body.starts_with(&[0x1F, 0x8B]), "{head}");
        }
    });
    let both = begun.elapsed();
    assert!(both >= Duration::from_secs(3), "{both:?}");

    drop(server);
    assert_eq!(tally.snapshot().check(), Ok(()));
    drop(kept);
    // What the requests took is heaptally's own.
    let rows = tally.snapshot().by_function();
    let of_http = rows.iter().filter(|row| row.function().starts_with("heaptally::"));
    assert_eq!(of_http.map(|row| row.function().to_owned()).collect::<Vec<_>>(), Vec::<String>::new());
}
