//! Which numbers arrived, how often? A mosquitto_sub that the broker remembers (QoS 1).

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

/// Device and number, and how often they came.
pub(super) type Arrivals = HashMap<(u32, u32), u32>;

/// A running subscriber; killed when dropped.
pub(super) struct Subscriber {
    child: Child,
    arrivals: Arc<Mutex<Arrivals>>,
}

impl Subscriber {
    pub(super) fn start(port: u16, topic: &str) -> Self {
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", &port.to_string()]);
        command.args(["-q", "1", "-c", "-i", "soak", "-F", "%p", "-t", topic]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("mosquitto_sub");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let arrivals = Arc::new(Mutex::new(Arrivals::new()));
        let into = Arc::clone(&arrivals);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(arrival) = parse(&line) {
                    *lock(&into).entry(arrival).or_default() += 1;
                }
            }
        });
        Self { child, arrivals }
    }

    pub(super) fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        lock(&self.arrivals)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lock(arrivals: &Mutex<Arrivals>) -> MutexGuard<'_, Arrivals> {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An uplink's JSON, and in its payload what [`super::device`] wrote.
fn parse(line: &str) -> Option<(u32, u32)> {
    let uplink: Value = serde_json::from_str(line).ok()?;
    let payload = BASE64.decode(uplink["PayloadData"].as_str()?).ok()?;
    let (device, number) = std::str::from_utf8(&payload).ok()?.split_once(' ')?;
    Some((device.parse().ok()?, number.parse().ok()?))
}
