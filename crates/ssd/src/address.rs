//! Names of pages and blocks.
//!
//! A physical address is the block's index in its plane, the plane and the page, each in as many bits as the geometry
//! needs: taking one apart costs shifts and masks, and no division.

/// A logical page number: what the host addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Lpn(pub u64);

impl Lpn {
    /// A page of no drive: it can be read, and holds nothing.
    pub const NOTHING: Self = Self(u64::MAX);
}

/// A physical page address. [`Geometry`](crate::Geometry) makes them and takes them apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ppa(pub(crate) u64);

/// A block of the drive. [`Geometry`](crate::Geometry) makes them and takes them apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlockId(pub(crate) u32);

/// How physical addresses are put together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    page_bits: u32,
    plane_bits: u32,
    /// Bits of an address.
    pub(crate) bits: u32,
}

/// Bits that hold numbers below `count`.
fn bits_for(count: u64) -> u32 {
    u64::BITS - count.saturating_sub(1).leading_zeros()
}

impl Layout {
    pub(crate) fn new(planes: u32, blocks_per_plane: u32, pages_per_block: u32) -> Self {
        let page_bits = bits_for(pages_per_block.into());
        let plane_bits = bits_for(planes.into());
        Self {
            page_bits,
            plane_bits,
            bits: page_bits + plane_bits + bits_for(blocks_per_plane.into()),
        }
    }

    #[inline]
    pub(crate) fn block(self, plane: u32, index: u32) -> BlockId {
        BlockId(index << self.plane_bits | plane)
    }

    #[inline]
    pub(crate) fn page(self, block: BlockId, page: u32) -> Ppa {
        Ppa(u64::from(block.0) << self.page_bits | u64::from(page))
    }

    #[inline]
    pub(crate) fn block_of(self, ppa: Ppa) -> BlockId {
        BlockId((ppa.0 >> self.page_bits) as u32)
    }

    #[inline]
    pub(crate) fn page_of(self, ppa: Ppa) -> u32 {
        (ppa.0 & ((1 << self.page_bits) - 1)) as u32
    }

    #[inline]
    pub(crate) fn plane_of(self, block: BlockId) -> u32 {
        block.0 & ((1 << self.plane_bits) - 1)
    }

    #[inline]
    pub(crate) fn index_of(self, block: BlockId) -> u32 {
        block.0 >> self.plane_bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_apart_into_what_they_were_made_of() {
        for (planes, blocks, pages) in [(1, 1, 1), (64, 274, 256), (3, 5, 7), (1 << 19, 2, 65_536)]
        {
            let layout = Layout::new(planes, blocks, pages);
            for plane in [0, planes / 2, planes - 1] {
                for index in [0, blocks - 1] {
                    for page in [0, pages / 3, pages - 1] {
                        let block = layout.block(plane, index);
                        let ppa = layout.page(block, page);
                        assert!(ppa.0 < 1 << layout.bits);
                        assert_eq!((layout.block_of(ppa), layout.page_of(ppa)), (block, page));
                        assert_eq!(
                            (layout.plane_of(block), layout.index_of(block)),
                            (plane, index)
                        );
                    }
                }
            }
        }
    }
}
