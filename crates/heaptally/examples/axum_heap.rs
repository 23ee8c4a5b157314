//! A service on axum that answers for its heap beside its own pages.
//!
//! ```sh
//! cargo run --release --example axum_heap --features http            # then http://127.0.0.1:3000/heap/
//! cargo run --release --example axum_heap --features http -- 0 check # asks itself, and ends
//! ```

use std::sync::Mutex;
use std::{env, io};

use axum::Router;
use axum::extract::{Path, RawQuery};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_blocking;

#[global_allocator]
static ALLOC: heaptally::TallyAlloc = heaptally::TallyAlloc::system();

/// Grows with each visit.
static VISITS: Mutex<Vec<String>> = Mutex::new(Vec::new());

async fn visit(Path(name): Path<String>) -> String {
    let mut visits = VISITS.lock().expect("no visit panics");
    visits.push(name);
    format!("visit {}\n", visits.len())
}

/// Everything that `heaptally::http` answers, under a path of the service's own.
async fn heap(path: Option<Path<String>>, RawQuery(query): RawQuery) -> impl IntoResponse {
    let path = path.map_or_else(|| "/".to_owned(), |Path(path)| format!("/{path}"));
    // A snapshot takes milliseconds, and a delta as long as it is asked to.
    let response = spawn_blocking(move || heaptally::http::respond(&path, &query.unwrap_or_default())).await;
    match response {
        Ok(response) => {
            let status = StatusCode::from_u16(response.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let headers = response.headers().into_iter().map(|(name, value)| (name.to_owned(), value));
            let mut answer = (status, response.into_body()).into_response();
            for (name, value) in headers {
                if let (Ok(name), Ok(value)) = (name.parse::<axum::http::HeaderName>(), value.parse()) {
                    answer.headers_mut().insert(name, value);
                }
            }
            answer
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    if let Err(error) = heaptally::start(heaptally::config!()) {
        eprintln!("heaptally: {error}");
    }
    let words: Vec<String> = env::args().skip(1).collect();
    let port: u16 = words.first().map_or(Ok(3000), |word| word.parse()).map_err(io::Error::other)?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    println!("visit http://{address}/visit/NAME, the heap is at http://{address}/heap/");
    let service =
        Router::new().route("/visit/{name}", get(visit)).route("/heap/", get(heap)).route("/heap/{*path}", get(heap));
    let serving = tokio::spawn(async { axum::serve(listener, service).await });
    if words.get(1).is_none_or(|word| word != "check") {
        return serving.await?;
    }
    for path in ["/visit/ada", "/heap/", "/heap/top.json", "/heap/metrics?top=3", "/heap/debug/pprof/heap", "/heap/no"]
    {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
            .await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let line = answer.split(|&byte| byte == b'\r').next().unwrap_or_default();
        println!("{path}: {}, {} bytes", String::from_utf8_lossy(line), answer.len());
    }
    Ok(())
}
