//! Which address and port is a device's own? A plan that needs no table, for up to a million
//! devices: the address says who it is, one socket bound to all addresses serves all of a port.
//!
//! ```text
//! device  = first + local, local = address + addresses * port     (of one thread: others differ)
//! socket  = plane % of * ports + port               (a device that is rebound changes its plane)
//! address = base + plane / of * fleet + first + address
//! ```

use std::net::Ipv4Addr;

/// The addresses and sockets of one thread's devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sources {
    /// First address of the range.
    base: u32,
    /// How many addresses there are.
    addresses: u32,
    /// Number of the first device of this thread.
    first: u32,
    /// How many devices this thread has.
    devices: u32,
    /// Sockets that a plane has.
    ports: u32,
    planes: Planes,
}

/// Between what a device moves: ports, and parts of the range that are each as long as the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planes {
    /// Ports of each device, from 1.
    pub(super) ports: u8,
    /// Addresses of each device, from 1.
    pub(super) blocks: u8,
    /// From one of its addresses to the next: the devices of all threads.
    pub(super) fleet: u32,
}

impl Planes {
    /// For devices that stay where they are.
    pub(super) const ONE: Self = Self { ports: 1, blocks: 1, fleet: u32::MAX };

    /// For a fleet that moves, with so many addresses to send from.
    pub(super) fn many(fleet: u32, addresses: u32) -> Self {
        let blocks = (addresses / fleet).clamp(1, BLOCKS_MAX.into()) as u8;
        Self { ports: if blocks == 1 { PORTS_ALONE } else { 2 }, blocks, fleet }
    }
}

/// Twice that many planes fit a byte.
const BLOCKS_MAX: u8 = 127;
/// Ports of a device that has one address only.
const PORTS_ALONE: u8 = 4;

/// Where a datagram of a device goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    /// Index of the socket.
    pub(super) socket: usize,
    /// The source address.
    pub(super) address: Ipv4Addr,
}

impl Sources {
    /// `first` and `devices` say which of the fleet's devices are this thread's. At least
    /// `ports_min` sockets share them, as far as there are as many devices.
    pub(super) fn new(
        base: Ipv4Addr,
        addresses: u32,
        first: u32,
        devices: u32,
        ports_min: u32,
        planes: Planes,
    ) -> Self {
        assert!(addresses > 0 && devices > 0 && ports_min > 0, "someone, from somewhere");
        let ports = devices.div_ceil(addresses).max(ports_min.min(devices));
        // Where more sockets are wanted than addresses ask for, fewer addresses are used.
        let addresses = devices.div_ceil(ports);
        Self { base: base.into(), addresses, first, devices, ports, planes }
    }

    /// How many sockets the thread needs.
    pub(super) fn sockets(&self) -> usize {
        (self.ports * u32::from(self.planes.ports)) as usize
    }

    /// From where device `local` of this thread sends while it is in `plane`.
    pub(super) fn binding(&self, local: u32, plane: u8) -> Binding {
        debug_assert!(local < self.devices && plane < self.planes());
        let (address, port) = (local % self.addresses, local / self.addresses);
        let (block, plane) = (plane / self.planes.ports, plane % self.planes.ports);
        // Each thread has its own part of the range, as far as it goes.
        let offset = u32::from(block).wrapping_mul(self.planes.fleet).wrapping_add(self.first);
        let address = self.base.wrapping_add(offset).wrapping_add(address);
        let socket = (u32::from(plane) * self.ports + port) as usize;
        Binding { socket, address: address.into() }
    }

    /// Who receives on that socket what was sent to that address, and in which plane; `None` when
    /// it is nobody's.
    pub(super) fn device(&self, socket: usize, address: Ipv4Addr) -> Option<(u32, u8)> {
        let offset = u32::from(address).wrapping_sub(self.base).wrapping_sub(self.first);
        let (block, address) = (offset / self.planes.fleet, offset % self.planes.fleet);
        let (plane, port) = (socket as u32 / self.ports, socket as u32 % self.ports);
        let of = u32::from(self.planes.ports);
        let local = (address < self.addresses).then(|| address + self.addresses * port)?;
        let is_known = local < self.devices && plane < of && block < u32::from(self.planes.blocks);
        is_known.then(|| (local, (block * of + plane) as u8))
    }

    /// How many planes there are.
    pub(super) fn planes(&self) -> u8 {
        self.planes.ports * self.planes.blocks
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::HashSet;

    const BASE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

    #[test]
    fn every_device_has_a_binding_of_its_own_and_is_found_by_it() {
        for (addresses, first, devices, ports_min, planes) in [
            (1, 0, 1, 1, Planes::ONE),
            (254, 0, 1_000, 1, Planes::many(1_000, 254)),
            (254, 1_000, 254, 1, Planes::many(2_000, 254)),
            (1 << 24, 500, 1_000, 4, Planes::many(1_500, 1 << 24)),
            (1 << 24, 1_000, 500, 1, Planes::many(1_500, 5_000)),
            (10, 0, 3, 8, Planes::ONE),
        ] {
            let sources = Sources::new(BASE, addresses, first, devices, ports_min, planes);
            let mut seen = HashSet::new();
            for plane in 0..sources.planes() {
                for local in 0..devices {
                    let Binding { socket, address } = sources.binding(local, plane);
                    assert!(socket < sources.sockets());
                    assert!(seen.insert((socket, address)), "shared: {local}");
                    assert_eq!(sources.device(socket, address), Some((local, plane)));
                }
            }
        }
    }

    #[test]
    fn a_neighbour_s_address_is_nobody_s() {
        let sources = Sources::new(BASE, 254, 10, 300, 1, Planes::ONE);
        assert_eq!(sources.sockets(), 2);
        let address = |offset: u32| Ipv4Addr::from(u32::from(BASE) + offset);
        assert_eq!(sources.device(0, address(10)), Some((0, 0)));
        assert_eq!(sources.device(0, address(9)), None, "the thread before");
        // 300 devices on two ports: 150 addresses each.
        assert_eq!(sources.device(1, address(159)), Some((299, 0)));
        assert_eq!(sources.device(1, address(160)), None);
        assert_eq!(sources.device(2, address(10)), None, "there is no such socket");
    }

    #[test]
    fn a_million_devices_need_one_socket_in_a_large_range_and_many_in_a_small_one() {
        let addresses = (1 << 24) - 3;
        let planes = Planes::many(1_000_000, addresses);
        let large = Sources::new(BASE, addresses, 0, 1_000_000, 1, planes);
        assert_eq!((large.sockets(), large.planes()), (2, 32), "two ports, sixteen addresses");
        let small = Sources::new(BASE, 254, 0, 1_000_000, 1, Planes::ONE);
        assert_eq!(small.sockets(), 3_938);
    }

    /// Two threads share the range: no address of one is the other's, wherever they move.
    #[test]
    fn threads_never_meet() {
        let planes = Planes::many(300, 1_000);
        let [one, two] = [(0, 200), (200, 100)]
            .map(|(first, devices)| Sources::new(BASE, 1_000, first, devices, 1, planes));
        for (plane, local) in
            (0..two.planes()).flat_map(|plane| (0..100).map(move |at| (plane, at)))
        {
            let Binding { socket, address } = two.binding(local, plane);
            assert_eq!(one.device(socket, address), None);
        }
    }
}
