//! The controller's way to host memory.

/// The host memory the controller was told an address in does not exist or may not be touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no host memory for {len} bytes at {address:#x}")]
pub struct HostMemoryError {
    /// First byte.
    pub address: u64,
    /// Number of bytes.
    pub len: u64,
}

/// Host memory as the controller's DMA sees it. Bytes are copied in and out, never borrowed: the
/// host may change them at any time.
pub trait HostMemory {
    /// Copies bytes out of host memory.
    ///
    /// # Errors
    /// If not all of them exist; then any part may have been copied.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), HostMemoryError>;

    /// Copies bytes into host memory.
    ///
    /// # Errors
    /// If not all of them exist; then any part may have been copied.
    fn write(&mut self, address: u64, from: &[u8]) -> Result<(), HostMemoryError>;
}
