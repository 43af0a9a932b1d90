//! What a client does when its connection is cut before anybody has shown who they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gantry_boot::{ConnectError, connect};
use gantry_identity::Role;
use tokio::io::{AsyncReadExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::support::Scheduler;

/// Stands before a scheduler, and cuts so many connections after the client's first bytes. Answers with its address and
/// how many have come.
async fn front(scheduler: &Scheduler, cuts: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, behind) = (listener.local_addr().unwrap().to_string(), scheduler.address);
    let come = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&come);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if count.fetch_add(1, Ordering::Relaxed) < cuts {
                // All of its greeting: what is left unread would make the end a reset.
                let _ = stream.read(&mut vec![0; 16 << 10]).await;
                continue;
            }
            tokio::spawn(async move {
                let mut server = TcpStream::connect(behind).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
    (address, come)
}

#[tokio::test]
async fn who_is_cut_off_once_tries_again_and_who_always_is_gets_told() {
    let scheduler = Scheduler::start().await;
    let own = scheduler.bundle(Role::Admin, "ada");

    let (address, come) = front(&scheduler, 1).await;
    connect(&address, Role::Scheduler, "", &own).await.unwrap();
    assert_eq!(come.load(Ordering::Relaxed), 2);

    let (address, come) = front(&scheduler, usize::MAX).await;
    let told = connect(&address, Role::Scheduler, "", &own).await.unwrap_err();
    assert!(matches!(told, ConnectError::Unreachable { .. }), "{told}");
    assert!(told.to_string().contains("eof"), "{told}");
    assert_eq!(come.load(Ordering::Relaxed), 2, "not again and again");
}
