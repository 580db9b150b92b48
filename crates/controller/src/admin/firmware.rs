//! What Identify and the firmware slot log both say.

/// The firmware is this program.
pub(crate) fn firmware_revision() -> [u8; 8] {
    padded(env!("CARGO_PKG_VERSION"))
}

/// A string of the wire: ASCII, padded with spaces.
pub(crate) fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    let len = text.len().min(N);
    field[..len].copy_from_slice(&text.as_bytes()[..len]);
    field
}
