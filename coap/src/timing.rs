//! How long does CoAP wait? The transmission parameters of RFC 7252 section 4.8 and what follows
//! from them.

/// Transmission parameters; [`Timing::DEFAULT`] is the RFC's table 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// ACK_TIMEOUT, ms: the least first timeout of a Confirmable message. The RFC asks for 1000 at
    /// least.
    pub ack_timeout_ms: u32,
    /// ACK_RANDOM_FACTOR, percent, at least 100: the first timeout is drawn between ACK_TIMEOUT
    /// and this part of it.
    pub ack_random_percent: u16,
    /// MAX_RETRANSMIT, 0..=20: how often a Confirmable message is sent again.
    pub max_retransmit: u8,
    /// NSTART, at least 1: outstanding interactions with one peer. Kept by whoever starts them.
    pub nstart: u8,
    /// MAX_LATENCY, ms: the longest a datagram is expected to take.
    pub max_latency_ms: u32,
}

impl Timing {
    /// The RFC's values.
    pub const DEFAULT: Self = Self {
        ack_timeout_ms: 2_000,
        ack_random_percent: 150,
        max_retransmit: 4,
        nstart: 1,
        max_latency_ms: 100_000,
    };

    /// The first timeout, ms. `jitter` is random over all of `u16`; it spreads the timeout evenly
    /// from ACK_TIMEOUT up to ACK_TIMEOUT × ACK_RANDOM_FACTOR.
    pub const fn first_timeout_ms(&self, jitter: u16) -> u64 {
        let least_ms = self.ack_timeout_ms as u64;
        let spread_ms = self.longest_first_timeout_ms() - least_ms;
        least_ms + spread_ms * jitter as u64 / u16::MAX as u64
    }

    /// PROCESSING_DELAY, ms: the time to turn a request into an acknowledgement.
    pub const fn processing_delay_ms(&self) -> u64 {
        self.ack_timeout_ms as u64
    }

    /// MAX_TRANSMIT_SPAN, ms: from the first transmission to the last.
    pub const fn max_transmit_span_ms(&self) -> u64 {
        self.longest_first_timeout_ms() * self.doublings(self.max_retransmit)
    }

    /// MAX_TRANSMIT_WAIT, ms: from the first transmission to giving up.
    pub const fn max_transmit_wait_ms(&self) -> u64 {
        self.longest_first_timeout_ms() * self.doublings(self.max_retransmit + 1)
    }

    /// MAX_RTT, ms.
    pub const fn max_rtt_ms(&self) -> u64 {
        2 * self.max_latency_ms as u64 + self.processing_delay_ms()
    }

    /// EXCHANGE_LIFETIME, ms: how long the Message ID of a Confirmable message means that message.
    pub const fn exchange_lifetime_ms(&self) -> u64 {
        self.max_transmit_span_ms() + self.max_rtt_ms()
    }

    /// NON_LIFETIME, ms: the same of a Non-confirmable message.
    pub const fn non_lifetime_ms(&self) -> u64 {
        self.max_transmit_span_ms() + self.max_latency_ms as u64
    }

    const fn longest_first_timeout_ms(&self) -> u64 {
        assert!(self.ack_random_percent >= 100, "RFC 7252 section 4.8.1");
        self.ack_timeout_ms as u64 * self.ack_random_percent as u64 / 100
    }

    /// First timeouts that pass while a timeout doubles `times` times: 2^times − 1.
    const fn doublings(&self, times: u8) -> u64 {
        assert!(self.max_retransmit <= MAX_RETRANSMIT_MAX);
        (1 << times) - 1
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Largest MAX_RETRANSMIT. *Why:* the last timeout is then 24 days; more is a typing error.
pub const MAX_RETRANSMIT_MAX: u8 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_give_the_rfc_s_derived_values() {
        let timing = Timing::DEFAULT;
        assert_eq!(timing.max_transmit_span_ms(), 45_000);
        assert_eq!(timing.max_transmit_wait_ms(), 93_000);
        assert_eq!(timing.processing_delay_ms(), 2_000);
        assert_eq!(timing.max_rtt_ms(), 202_000);
        assert_eq!(timing.exchange_lifetime_ms(), 247_000);
        assert_eq!(timing.non_lifetime_ms(), 145_000);
    }

    #[test]
    fn the_first_timeout_spreads_over_the_whole_window() {
        assert_eq!(Timing::DEFAULT.first_timeout_ms(0), 2_000);
        assert_eq!(Timing::DEFAULT.first_timeout_ms(u16::MAX / 2), 2_499);
        assert_eq!(Timing::DEFAULT.first_timeout_ms(u16::MAX), 3_000);
    }

    #[test]
    fn derived_values_follow_other_parameters_to_both_ends() {
        let once = Timing { max_retransmit: 0, ..Timing::DEFAULT };
        assert_eq!((once.max_transmit_span_ms(), once.max_transmit_wait_ms()), (0, 3_000));
        let most = Timing {
            ack_timeout_ms: u32::MAX,
            ack_random_percent: u16::MAX,
            max_retransmit: MAX_RETRANSMIT_MAX,
            nstart: 1,
            max_latency_ms: u32::MAX,
        };
        assert!(most.exchange_lifetime_ms() > most.max_transmit_span_ms());
    }
}
