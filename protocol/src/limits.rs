//! Every bound a peer can hit while its bytes are read, with the defaults.

/// What one STOMP frame may cost before it is refused.
///
/// The bounds act while bytes arrive: a head that grows too long is refused before its end is seen, and a
/// `content-length` beyond [`Limits::body_bytes`] is refused as soon as it is announced (STOMP 1.2, "Size Limits").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Command line and all header lines together, in octets as they arrive, line ends included. Default 64 KiB.
    pub head_bytes: usize,
    /// Header lines in one frame. Default 100.
    pub headers: usize,
    /// One header line in octets, without its line end. Default 16 KiB.
    pub header_line_bytes: usize,
    /// The body in octets. Default 1 MiB.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_bytes: 64 * 1024, headers: 100, header_line_bytes: 16 * 1024, body_bytes: 1024 * 1024 }
    }
}

impl Limits {
    /// The smaller bounds for a peer that has not connected yet: a CONNECT carries credentials, never a body.
    #[must_use]
    pub const fn before_connected() -> Self {
        Self { head_bytes: 16 * 1024, headers: 40, header_line_bytes: 8 * 1024, body_bytes: 0 }
    }
}
