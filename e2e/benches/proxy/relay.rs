//! The floor: a relay that copies bytes between a client and the backend.

use std::error::Error;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// Relays from one port of this machine to another, until it is ended.
pub fn run(port: &str, to: &str) -> Result<(), Box<dyn Error>> {
    let (port, to): (u16, u16) = (port.parse()?, to.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            let (client, _) = listener.accept().await?;
            tokio::spawn(async move {
                // Either side may go at any time; then the connection is over.
                let _ = relay(client, to).await;
            });
        }
    })
}

async fn relay(mut client: TcpStream, to: u16) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", to)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}
