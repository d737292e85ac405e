//! Tidegate coap.
