//! What do all threads of a fleet have in common? The scenario, resolved.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tidegate_coap::timing::Timing;
use tidegate_dtls::client::{Config, Credential};

use super::sockets::{Addresses, Sockets};
use super::sources::{Planes, Sources};
use crate::scenario::{Kind, Load, Phase, Scenario, Transport, Wake};

/// The scenario, resolved.
pub(super) struct Setup {
    pub(super) scenario: Scenario,
    pub(super) transport: Transport,
    server: SocketAddr,
    /// Of each phase.
    pub(super) offers: Vec<Offer>,
    /// How long a Connection ID toward a device is, where it has one.
    pub(super) own_cid_len: usize,
    pub(super) credential: Credential,
    pub(super) timing: Timing,
    pub(super) threads: u32,
}

/// What devices offer in their handshakes.
#[derive(Clone, Default)]
pub(super) struct Offer {
    pub(super) config: Arc<Config>,
    /// What they announce (RFC 9146 section 3).
    pub(super) own_cid: Option<Vec<u8>>,
}

/// Which devices are a thread's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) thread: u32,
    /// Number of its first device in the fleet.
    pub(super) first: u32,
    pub(super) devices: u32,
}

impl Setup {
    pub(super) fn new(scenario: &Scenario, threads: u32) -> io::Result<Self> {
        let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidInput, error);
        let address = scenario.target.address().map_err(invalid)?;
        let (transport, server) = (address.transport, address.resolve()?);
        let (mut offers, mut credential) =
            (vec![Offer::default(); scenario.phases.len()], Credential::Nobody);
        if transport == Transport::Dtls {
            credential = scenario.dtls.to_profile().map_err(invalid)?.credential()?;
            for (phase, offer) in scenario.phases.iter().zip(&mut offers) {
                let profile = scenario.dtls.of(phase).to_profile().map_err(invalid)?;
                offer.config = Arc::new(profile.config(Some(&address.host))?);
                offer.own_cid = profile.own_cid().map(<[u8]>::to_vec);
            }
        }
        let coap = &scenario.coap;
        let timing = Timing {
            ack_timeout_ms: coap.ack_timeout_ms,
            max_retransmit: coap.max_retransmit,
            nstart: coap.nstart,
            ..Timing::DEFAULT
        };
        // A thread without devices has nothing to do.
        let threads = threads.clamp(1, scenario.fleet.devices);
        let lengths = offers.iter().filter_map(|offer| offer.own_cid.as_ref().map(Vec::len));
        Ok(Self {
            scenario: scenario.clone(),
            transport,
            server,
            own_cid_len: lengths.max().unwrap_or(0),
            offers,
            credential,
            timing,
            threads,
        })
    }

    pub(super) fn share(&self, thread: u32) -> Share {
        let (devices, of) = (self.scenario.fleet.devices, self.threads);
        let first = thread * (devices / of) + thread.min(devices % of);
        Share { thread, first, devices: devices / of + u32::from(thread < devices % of) }
    }

    /// The sockets of a thread's devices.
    pub(super) fn sockets(&self, share: Share) -> io::Result<Sockets> {
        let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidInput, error);
        let named = self.scenario.fleet.sources().map_err(invalid)?;
        // Everything in 127.0.0.0/8 is this host's and nobody else's: there is no reason to be
        // short of addresses.
        let loopback = (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 1 << 24);
        let sources = named.or_else(|| {
            let is_local = matches!(self.server.ip(), IpAddr::V4(ip) if ip.is_loopback());
            is_local.then_some(loopback)
        });
        if let (SocketAddr::V4(server), Some((IpAddr::V4(base), number @ 3..))) =
            (self.server, sources)
        {
            // Neither the network's own address nor the one servers are bound to.
            let (base, number) = (Ipv4Addr::from(u32::from(base) + 2), number as u32 - 3);
            let number = number.max(1);
            let moves = self.scenario.phases.iter().any(Phase::moves);
            let fleet = self.scenario.fleet.devices;
            let planes = if moves { Planes::many(fleet, number) } else { Planes::ONE };
            let sources =
                |ports| Sources::new(base, number, share.first, share.devices, ports, planes);
            let sockets = Sockets::shared(server, sources(1))?;
            let buffer = sockets.receive_buffer().unwrap_or(usize::MAX).max(1);
            let ports = (self.outstanding() * DATAGRAM_MEMORY_BYTES).div_ceil(buffer) as u32;
            return if ports > 1 { Sockets::shared(server, sources(ports)) } else { Ok(sockets) };
        }
        let unspecified: IpAddr = match self.server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let (base, number) = sources.unwrap_or((unspecified, 1));
        super::allow_files(u64::from(self.scenario.fleet.devices) + 64);
        Sockets::own(self.server, share.devices, Addresses { base, number, first: share.first })
    }

    /// Datagrams that may be on their way to one thread.
    fn outstanding(&self) -> usize {
        let each = self.scenario.phases.iter().map(|phase| {
            match phase.load(self.scenario.fleet.devices) {
                Load::Closed { outstanding } => outstanding as usize,
                // What comes in within a hundredth of a second.
                Load::Open { rate_per_s } => (rate_per_s / 100.0) as usize,
            }
        });
        each.max().unwrap_or(1) / self.threads as usize
    }

    /// Whether any phase comes back with sessions.
    pub(super) fn resumes(&self) -> bool {
        let resumes = |phase: &crate::scenario::Phase| match phase.kind {
            Kind::Storm => phase.resume_percent > 0,
            Kind::Sleepy => phase.wake == Wake::Resumed,
            Kind::Connect | Kind::Requests => false,
        };
        self.scenario.phases.iter().any(resumes)
    }

    /// The credential of one device.
    pub(super) fn credential_of(&self, number: u32) -> Credential {
        crate::handshakes::numbered(&self.credential, number.into())
    }
}

/// What the kernel charges a socket for a small datagram, bytes.
const DATAGRAM_MEMORY_BYTES: usize = 1_024;
