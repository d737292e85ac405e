//! How do orders reach a running daemon? By a Unix socket in data_dir, mode 0600, one line of JSON
//! each way. Only its own user and root are heard.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::admin::{Admin, Order};

/// Longest line, bytes: a policy and its names.
const LINE_BYTES_MAX: u64 = 65_536;
/// Orders carried out at the same time.
const ORDERS_MAX: usize = 8;
/// An order must have arrived after so long.
const ARRIVAL: Duration = Duration::from_secs(10);

/// Where it is.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("admin.sock")
}

/// Makes the socket. *Why what is there may go:* the store is locked by us already, so whoever
/// made it is no more.
pub fn bind(data_dir: &Path) -> io::Result<UnixListener> {
    let path = path(data_dir);
    if path.try_exists()? {
        std::fs::remove_file(&path)?;
    }
    let listener = UnixListener::bind(&path)?;
    // Until then data_dir's own mode keeps others out.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Carries out what comes, until the task is dropped.
pub async fn serve(listener: UnixListener, admin: Admin) {
    let slots = Arc::new(Semaphore::new(ORDERS_MAX));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let admin = admin.clone();
        tokio::spawn(async move {
            let _slot = slot;
            if let Err(error) = answer(stream, &admin).await {
                tracing::debug!(%error, "an admin went away");
            }
        });
    }
}

async fn answer(stream: UnixStream, admin: &Admin) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    let (reading, mut writing) = stream.into_split();
    let said = if is_heard(peer) {
        let mut line = Zeroizing::new(String::new());
        let mut reading = BufReader::new(reading.take(LINE_BYTES_MAX));
        let arrival = tokio::time::timeout(ARRIVAL, reading.read_line(&mut line)).await;
        arrival.map_err(|_| io::ErrorKind::TimedOut)??;
        match serde_json::from_str::<Order>(&line) {
            Ok(order) => admin.run(order).await,
            Err(error) => Err(format!("the order is not understood: {error}")),
        }
    } else {
        tracing::warn!(uid = peer, "somebody else's order was refused");
        Err("orders are taken from the daemon's own user and root only".to_owned())
    };
    let said = match said {
        Ok(value) => json!({ "Ok": value }),
        Err(why) => json!({ "Error": why }),
    };
    let line = Zeroizing::new(format!("{said}\n"));
    writing.write_all(line.as_bytes()).await
}

fn is_heard(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Gives an order to the daemon of this data directory; `None`: none runs.
pub async fn order(data_dir: &Path, order: &Order) -> Option<Result<Value, String>> {
    let stream = match UnixStream::connect(path(data_dir)).await {
        Ok(stream) => stream,
        Err(e) if is_nobody(&e) => return None,
        Err(error) => return Some(Err(error.to_string())),
    };
    Some(ask(stream, order).await)
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

async fn ask(mut stream: UnixStream, order: &Order) -> Result<Value, String> {
    let say = |e: io::Error| format!("the daemon went away: {e}");
    let line = serde_json::to_string(order).map_err(|e| e.to_string())? + "\n";
    stream.write_all(line.as_bytes()).await.map_err(say)?;
    let mut said = Zeroizing::new(String::new());
    stream.read_to_string(&mut said).await.map_err(say)?;
    let said: Value = serde_json::from_str(&said).map_err(|_| "the daemon went away".to_owned())?;
    match (&said["Ok"], said["Error"].as_str()) {
        (_, Some(why)) => Err(why.to_owned()),
        (value, None) => Ok(value.clone()),
    }
}
