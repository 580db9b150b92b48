//! Whether a file is as it was written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// CRC-32C of a file, in hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Checksum(pub(crate) String);

impl Checksum {
    /// Of all of a file, which is at its beginning then.
    pub(crate) fn of(mut file: &File) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        let (mut sum, mut buffer) = (0, vec![0; 1 << 16]);
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            sum = crc32c::crc32c_append(sum, &buffer[..count]);
        }
        file.seek(SeekFrom::Start(0))?;
        Ok(Self(format!("{sum:08x}")))
    }
}
