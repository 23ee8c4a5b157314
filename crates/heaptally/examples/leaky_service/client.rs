//! The client: opens sessions at an even pace, over one connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time;

use crate::pages::PAGE_BYTES;

/// Opens `sessions` sessions evenly over `duration`, or more slowly where the machine cannot keep up. Every session
/// is open when this returns, because the server answers after opening it.
pub(crate) async fn open_sessions(address: SocketAddr, sessions: u32, duration: Duration) -> io::Result<()> {
    let mut connection = TcpStream::connect(address).await?;
    let mut pace = time::interval(duration / sessions);
    let mut page = [0; PAGE_BYTES];
    for user in 0..sessions {
        pace.tick().await;
        connection.write_u32(user).await?;
        connection.read_exact(&mut page).await?;
    }
    Ok(())
}
