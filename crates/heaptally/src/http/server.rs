//! A small server of its own, for programs that have none.
//!
//! A thread `heaptally-http` waits for requests and gives each connection with some a thread, so that a request that takes
//! a minute holds up no other. It answers none itself: on one connection answers come in the order of the requests, and
//! who sends one too early waits. What these threads allocate is heaptally's own. The server below is tiny_http's, which
//! has threads too; those are the program's, as far as the rows go: "(other: tiny_http)".

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io, thread};

use tiny_http::{Header, Method, Request};

use super::respond::{Response, respond};
use crate::engine;

/// Connections that are answered at once; requests on others are told to come again.
const MOST_AT_ONCE: usize = 32;
/// Requests that may wait on one connection for answers before theirs. Further ones get none.
const MOST_WAITING: usize = 64;

/// A server that answers until it is dropped.
#[must_use = "dropping it ends the server; keep it, or call detach()"]
pub struct Server {
    inner: Arc<tiny_http::Server>,
    address: SocketAddr,
}

/// Why there is no server.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The address is not one, or can be reached from other machines: see [`serve_publicly`].
    NotLoopback(SocketAddr),
    /// The name has no address, or the port cannot be had.
    Bind(Box<dyn Error + Send + Sync>),
    /// The system refused a thread.
    Thread(io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLoopback(address) => write!(
                f,
                "{address} can be reached from other machines, and whoever reaches it reads the program's symbols: take \
                 127.0.0.1, or say that it is meant with serve_publicly"
            ),
            Self::Bind(error) => write!(f, "the address cannot be served: {error}"),
            Self::Thread(error) => write!(f, "the system refused a thread for the server: {error}"),
        }
    }
}

impl Error for ServeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotLoopback(_) => None,
            Self::Bind(error) => Some(&**error),
            Self::Thread(error) => Some(error),
        }
    }
}

/// Answers on an address of this machine, such as `"127.0.0.1:6060"`; port 0 takes a free one. What it answers is in the
/// [module's](crate::http) table.
///
/// Only to this machine: a request that names another host, as one from a page of the web does that was told this address is
/// its own, gets 403.
///
/// # Errors
///
/// When the address is not of this machine alone, or cannot be had.
///
/// # Examples
///
/// ```no_run
/// # fn main() -> Result<(), heaptally::http::ServeError> {
/// let server = heaptally::http::serve("127.0.0.1:6060")?;
/// println!("the heap is at http://{}/", server.address());
/// server.detach();
/// # Ok(()) }
/// ```
pub fn serve(address: impl ToSocketAddrs) -> Result<Server, ServeError> {
    listen(address, false)
}

/// [`serve`] on any address. Whoever reaches it reads the program's symbols and the sizes of its heap, and can make it take
/// snapshots.
///
/// # Errors
///
/// When the address cannot be had.
pub fn serve_publicly(address: impl ToSocketAddrs) -> Result<Server, ServeError> {
    listen(address, true)
}

fn listen(address: impl ToSocketAddrs, is_public: bool) -> Result<Server, ServeError> {
    engine::internal(|| {
        let addresses: Vec<_> = address.to_socket_addrs().map_err(|error| ServeError::Bind(error.into()))?.collect();
        if let Some(&outside) = addresses.iter().find(|address| !is_public && !address.ip().is_loopback()) {
            return Err(ServeError::NotLoopback(outside));
        }
        let inner = Arc::new(tiny_http::Server::http(&*addresses).map_err(ServeError::Bind)?);
        let no_ip = || ServeError::Bind("the server has no IP address".into());
        let address = inner.server_addr().to_ip().ok_or_else(no_ip)?;
        let for_thread = Arc::clone(&inner);
        let body = move || engine::internal(|| wait(&for_thread, is_public));
        thread::Builder::new().name("heaptally-http".into()).spawn(body).map_err(ServeError::Thread)?;
        Ok(Server { inner, address })
    })
}

impl Server {
    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Keeps it for the rest of the process's life.
    pub fn detach(self) {
        std::mem::forget(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.inner.unblock();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

fn wait(server: &tiny_http::Server, is_public: bool) {
    let at_work = Arc::new(AtWork::default());
    // Ends when the server is dropped, or its socket fails.
    while let Ok(request) = server.recv() {
        let Some((mut connection, is_full)) = at_work.take(Unanswered(Some(request))) else { continue };
        let body = move || {
            engine::internal(|| {
                while let Some(request) = connection.next() {
                    if is_full {
                        send(request, &Response::sentence(503, "too many requests are being answered: come again"));
                    } else {
                        answer(request, is_public);
                    }
                }
            });
        };
        // Without a thread there is no answer.
        _ = thread::Builder::new().name("heaptally-http".into()).spawn(body);
    }
}

/// Connections whose requests are being answered, each with those that wait.
#[derive(Default)]
struct AtWork(Mutex<HashMap<SocketAddr, VecDeque<Unanswered>>>);

impl AtWork {
    /// Puts a request with the others of its connection. If it is the first, the connection, and whether there are too many.
    fn take(self: &Arc<Self>, request: Unanswered) -> Option<(Connection, bool)> {
        let from = *request.0.as_ref()?.remote_addr()?;
        let mut connections = self.lock();
        let is_full = connections.len() >= MOST_AT_ONCE;
        if let Some(waiting) = connections.get_mut(&from) {
            if waiting.len() < MOST_WAITING {
                waiting.push_back(request);
            }
            return None;
        }
        connections.insert(from, VecDeque::from([request]));
        Some((Connection { at_work: Arc::clone(self), from, is_over: false }, is_full))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, VecDeque<Unanswered>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection at work. What still waits when it is dropped gets no answer.
struct Connection {
    at_work: Arc<AtWork>,
    from: SocketAddr,
    is_over: bool,
}

impl Connection {
    /// The next request; `None` once there is none, and then the connection is at work no more.
    fn next(&mut self) -> Option<Request> {
        let mut connections = self.at_work.lock();
        let request = connections.get_mut(&self.from).and_then(VecDeque::pop_front);
        if request.is_none() {
            connections.remove(&self.from);
            self.is_over = true;
        }
        request.and_then(|mut request| request.0.take())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.is_over {
            self.at_work.lock().remove(&self.from);
        }
    }
}

/// A request that is let go without an answer when dropped: its own drop would wait for its turn to send one.
struct Unanswered(Option<Request>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        drop(self.0.take().map(Request::into_writer));
    }
}

fn answer(request: Request, is_public: bool) {
    let response = if !is_public && !names_this_machine(&request) {
        Response::sentence(403, "this is answered to localhost alone")
    } else if matches!(request.method(), Method::Get | Method::Head) {
        let url = request.url();
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        respond(path, query)
    } else {
        Response::sentence(405, "only GET and HEAD are answered")
    };
    send(request, &response);
}

/// Whether the request was made to a name of this machine. One of a page whose own name was made to lead here has that in
/// its `Host`.
fn names_this_machine(request: &Request) -> bool {
    let host = request.headers().iter().find(|header| header.field.equiv("Host"));
    host.is_none_or(|host| is_local(host.value.as_str()))
}

fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn send(request: Request, response: &Response) {
    let headers = response.headers().into_iter().filter_map(|(name, value)| Header::from_bytes(name, value).ok());
    let answer = tiny_http::Response::new(
        tiny_http::StatusCode(response.status()),
        headers.collect(),
        response.body(),
        Some(response.body().len()),
        None,
    )
    // The length is known.
    .with_chunked_threshold(usize::MAX);
    // Whoever asked may have gone.
    _ = request.respond(answer);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in ["localhost", "LOCALHOST:6060", "127.0.0.1", "127.0.0.1:80", "127.9.9.9", "[::1]:6060", "[::1]"] {
            assert!(is_local(host), "{host}");
        }
        for host in
            ["", "example.com", "localhost.example.com:6060", "127.0.0.1.example.com", "10.0.0.1", "[2001:db8::1]:80"]
        {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn an_address_of_others_is_refused_unless_meant() {
        let error = serve("0.0.0.0:0").unwrap_err();
        assert!(matches!(error, ServeError::NotLoopback(_)), "{error}");
        assert!(error.to_string().contains("serve_publicly"), "{error}");
        assert!(matches!(serve("no such address").unwrap_err(), ServeError::Bind(_)));
    }
}
