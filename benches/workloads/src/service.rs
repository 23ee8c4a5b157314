//! `tokio`: a request service on the loopback interface, with its clients in the same process.
//!
//! Stands for services: a few dozen allocations a request, at the ends of the deep stacks of tasks, on threads that take
//! over each other's tasks. The load is closed: each connection asks again when it has its answer, so there are always as
//! many requests under way as connections, and the latency is mostly waiting for a thread.

use std::net::Ipv4Addr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

use crate::histogram::Histogram;
use crate::metric::Metric;
use crate::server::{self, END_OF_HEAD};
use crate::work::Work;

const CONNECTIONS: usize = 16;
const REQUESTS_A_CONNECTION: usize = 64;
/// On every machine, for server and clients together.
const THREADS: usize = 2;
/// Above the longest response.
const BUFFER_BYTES: usize = 4096;

pub(crate) struct Service {
    /// From `begin`, when tracking has started.
    runtime: Option<Runtime>,
    clients: Vec<Client>,
    laps: u64,
}

struct Client {
    number: usize,
    stream: TcpStream,
    buffer: Vec<u8>,
    latencies: Histogram,
}

impl Service {
    pub(crate) fn new() -> Self {
        Self { runtime: None, clients: Vec::with_capacity(CONNECTIONS), laps: 0 }
    }
}

impl Work for Service {
    fn operation(&self) -> &'static str {
        "request"
    }

    fn operations_a_lap(&self) -> u64 {
        (CONNECTIONS * REQUESTS_A_CONNECTION) as u64
    }

    fn lap(&mut self) -> u64 {
        if self.laps == 1 {
            // Those of the warm-up.
            self.clients.iter_mut().for_each(|client| client.latencies.clear());
        }
        self.laps += 1;
        let clients = std::mem::take(&mut self.clients);
        self.runtime.as_ref().expect("begun").block_on(async {
            let tasks: Vec<_> = clients.into_iter().map(|client| tokio::spawn(client.lap())).collect();
            let mut sum = 0_u64;
            for task in tasks {
                let (client, bytes) = task.await.expect("a client's task");
                sum = sum.wrapping_add(bytes);
                self.clients.push(client);
            }
            sum
        })
    }

    fn begin(&mut self) {
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_io().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port of the loopback interface");
            let address = listener.local_addr().expect("its address");
            tokio::spawn(server::serve(listener));
            for number in 0..CONNECTIONS {
                let stream = TcpStream::connect(address).await.expect("the server accepts");
                stream.set_nodelay(true).expect("a socket option");
                self.clients.push(Client {
                    number,
                    stream,
                    buffer: vec![0; BUFFER_BYTES],
                    latencies: Histogram::new(),
                });
            }
        });
        self.runtime = Some(runtime);
    }

    fn metrics(&self, ns_an_operation: f64) -> Vec<Metric> {
        let mut latencies = Histogram::new();
        self.clients.iter().for_each(|client| latencies.merge(&client.latencies));
        let us = |part| latencies.quantile(part) as f64 / 1e3;
        vec![
            Metric::higher("throughput", "requests/s", 1e9 / ns_an_operation),
            Metric::lower("median", "us", us(0.5)),
            Metric::lower("p99", "us", us(0.99)),
        ]
    }
}

impl Client {
    /// Sends a lap's requests, one after the other, and gives the sum of the responses' bytes.
    async fn lap(mut self) -> (Self, u64) {
        let mut sum = 0_u64;
        for request in 0..REQUESTS_A_CONNECTION {
            let text = format!(
                "GET /users/{}/orders?limit={}&sort=date&request={request} HTTP/1.1\r\nHost: localhost\r\nAccept: \
                 application/json\r\nUser-Agent: client\r\nX-Session: session-{request}\r\n\r\n",
                self.number,
                4 + request % 8,
            );
            let begun = Instant::now();
            self.stream.write_all(text.as_bytes()).await.expect("the server reads");
            let response = self.response().await;
            self.latencies.add(begun.elapsed().as_nanos() as u64);
            sum = self.buffer[..response].iter().fold(sum, |sum, &byte| sum.wrapping_add(u64::from(byte)));
        }
        (self, sum)
    }

    /// Reads one, and gives its length.
    async fn response(&mut self) -> usize {
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await.expect("the server answers");
            assert_ne!(read, 0, "the server has closed a connection, or its response is too long");
            filled += read;
            if length(&self.buffer[..filled]).is_some_and(|length| filled == length) {
                return filled;
            }
        }
    }
}

/// Of the whole response, once its head is there.
fn length(response: &[u8]) -> Option<usize> {
    let head = response.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD)?;
    let text = str::from_utf8(&response[..head]).ok()?;
    let body: usize = text.rsplit_once("content-length: ")?.1.parse().ok()?;
    Some(head + END_OF_HEAD.len() + body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_has_a_length_when_its_head_is_there() {
        assert_eq!(length(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"), Some(17 + 17 + 2 + 2 + 2));
        assert_eq!(length(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"), None);
    }
}
