//! Where can packets be taken from a real interface? On a veth pair between two network namespaces
//! that are made here and gone with the [`VethPair`]: an edge in one, devices in the other.
//!
//! Needs root and iproute2. `bench` includes this file too, to run whole processes on the pair.
#![allow(dead_code, unreachable_pub)]

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Two namespaces, and an interface in each: what enters one comes out of the other.
#[derive(Debug)]
pub struct VethPair {
    edge: String,
    devices: String,
}

/// One side of the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where the edge is: interface `edge0`, addresses [`EDGE_IPV4`] and [`EDGE_IPV6`].
    Edge,
    /// Where devices are: interface `dev0`, [`DEVICES_IPV4`] and [`DEVICES_IPV6`], and all of
    /// 10.84.128.0/17, from any of which they may send.
    Devices,
}

/// The edge's interface, for `net.xdp_interface`.
pub const EDGE_INTERFACE: &str = "edge0";
pub const EDGE_IPV4: &str = "10.84.0.1";
pub const EDGE_IPV6: &str = "fd84::1";
pub const DEVICES_IPV4: &str = "10.84.0.2";
pub const DEVICES_IPV6: &str = "fd84::2";

impl VethPair {
    /// A new pair with `queues` queues each way. The error says why this machine won't have it.
    pub fn new(queues: u32) -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = |side: &str| format!("tidegate-{}-{number}-{side}", std::process::id());
        let pair = Self { edge: name("edge"), devices: name("devices") };
        let (edge, devices) = (&pair.edge, &pair.devices);
        ip(&format!("netns add {edge}"))?;
        ip(&format!("netns add {devices}"))?;
        let queues = format!("numrxqueues {queues} numtxqueues {queues}");
        ip(&format!(
            "link add name {EDGE_INTERFACE} netns {edge} {queues} type veth \
             peer name dev0 netns {devices} {queues}"
        ))?;
        pair.ip(Side::Edge, &format!("address add {EDGE_IPV4}/16 dev {EDGE_INTERFACE}"))?;
        pair.ip(Side::Edge, &format!("address add {EDGE_IPV6}/64 dev {EDGE_INTERFACE} nodad"))?;
        pair.ip(Side::Devices, &format!("address add {DEVICES_IPV4}/16 dev dev0"))?;
        pair.ip(Side::Devices, &format!("address add {DEVICES_IPV6}/64 dev dev0 nodad"))?;
        for (side, interface) in [(Side::Edge, EDGE_INTERFACE), (Side::Devices, "dev0")] {
            pair.ip(side, "link set lo up")?;
            // Without this a link-local address is not used for some seconds.
            pair.ip(side, &format!("link set {interface} addrgenmode none"))?;
            pair.ip(side, &format!("link set {interface} up"))?;
        }
        pair.ip(Side::Edge, &format!("address add fe80::1/64 dev {EDGE_INTERFACE} nodad"))?;
        pair.ip(Side::Devices, "address add fe80::2/64 dev dev0 nodad")?;
        pair.ip(Side::Devices, "route add local 10.84.128.0/17 dev lo")?;
        Ok(pair)
    }

    /// Runs `ip` with these words on one side.
    pub fn ip(&self, side: Side, words: &str) -> Result<(), String> {
        ip(&format!("-n {} {words}", self.name(side)))
    }

    /// What one side sends arrives at the other on whichever core sent it. Has the devices' side
    /// receive on `core`, as a machine of their own would (Documentation/networking/scaling).
    pub fn devices_receive_on(&self, core: usize) -> Result<(), String> {
        let mask = format!("{:x}", 1u64 << core);
        let order = format!("echo {mask} > /sys/class/net/dev0/queues/rx-0/rps_cpus");
        let done = self.command(Side::Devices, "sh").args(["-c", &order]).status();
        match done {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!("{order}: {other:?}")),
        }
    }

    /// A command that runs on one side; its process is the program's own.
    pub fn command(&self, side: Side, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name(side), program]);
        command
    }

    /// Runs `story` on a thread of its own, on one side. Sockets stay where they were made.
    pub fn on<T: Send>(&self, side: Side, story: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.name(side));
        let told = std::thread::scope(|scope| {
            let teller = scope.spawn(|| {
                let namespace = File::open(&path).expect("the namespace of a pair");
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(namespace.as_fd(), network).expect("root may enter");
                story()
            });
            teller.join()
        });
        told.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The namespace of one side.
    pub fn name(&self, side: Side) -> &str {
        match side {
            Side::Edge => &self.edge,
            Side::Devices => &self.devices,
        }
    }
}

impl Drop for VethPair {
    fn drop(&mut self) {
        for name in [&self.edge, &self.devices] {
            let _ = ip(&format!("netns delete {name}"));
        }
    }
}

fn ip(words: &str) -> Result<(), String> {
    let done = Command::new("ip").args(words.split_whitespace()).output();
    let done = done.map_err(|error| format!("ip, of iproute2: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("ip {words}: {}", String::from_utf8_lossy(&done.stderr).trim()))
}
