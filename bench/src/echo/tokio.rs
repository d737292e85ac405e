//! How does the bare echo over tokio-uring go? Tasks that each receive and send one datagram at a
//! time, all on one thread and one ring; the crate has no multishot receive and no ring of buffers.

use std::io;
use std::net::UdpSocket as StdSocket;
use std::rc::Rc;

use tokio_uring::net::UdpSocket;

use super::{DATAGRAM_BYTES, TASKS};

pub(super) fn serve(socket: StdSocket, reply_bytes: usize) -> io::Result<()> {
    tokio_uring::start(async move {
        let socket = Rc::new(UdpSocket::from_std(socket));
        let begin = |_| tokio_uring::spawn(echo(Rc::clone(&socket), reply_bytes));
        let tasks: Vec<_> = (0..TASKS).map(begin).collect();
        for task in tasks {
            task.await.map_err(io::Error::other)??;
        }
        Ok(())
    })
}

async fn echo(socket: Rc<UdpSocket>, reply_bytes: usize) -> io::Result<()> {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        let (received, mut filled) = socket.recv_from(buffer).await;
        if let Ok((len, peer)) = received {
            filled.truncate(len.min(reply_bytes));
            let (_, sent) = socket.send_to(filled, peer).await;
            filled = sent;
        }
        filled.resize(DATAGRAM_BYTES, 0);
        buffer = filled;
    }
}
