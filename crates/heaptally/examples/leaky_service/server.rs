//! The server: a client sends the numbers of users, four bytes each, and gets a page for each.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::pages::PageCache;
use crate::sessions::SessionCache;

/// Serves every client in a task of its own. Returns only when accepting fails, with the reason.
pub(crate) async fn listen(listener: TcpListener, sessions: Arc<SessionCache>, pages: Arc<PageCache>) -> io::Error {
    loop {
        match listener.accept().await {
            Ok((connection, _)) => tokio::spawn(serve(connection, Arc::clone(&sessions), Arc::clone(&pages))),
            Err(error) => return error,
        };
    }
}

/// Opens a session for each request. A client that goes away ends the task.
async fn serve(mut connection: TcpStream, sessions: Arc<SessionCache>, pages: Arc<PageCache>) -> io::Result<()> {
    loop {
        let user = connection.read_u32().await?;
        sessions.remember(user);
        connection.write_all(&pages.get(user as usize)).await?;
    }
}
