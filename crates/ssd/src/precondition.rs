//! A drive that is new but was used: what it holds, without the time that it took.
//!
//! Filled in order, it holds one page after another. Overwritten at random, it is as if its filled part had been written again and again,
//! uniformly, until write amplification does not change any more. That state is computed. Of P pages that were written together each
//! is overwritten with the same probability by every write, so what is valid of a block shrinks by the same factor from each block to
//! the next older one. The factor is the one with which all blocks together hold what is written. Collection takes the oldest
//! block, of which a part u is valid: a write costs 1 / (1 - u) programs (Desnoyers, "Analytic Models of SSD Write Performance", ACM
//! TOS 10(2), 2014, with blocks so large that they differ by age alone; that is also what first-in-first-out collection comes to).

use simtime::{Instant, Prng};

use crate::address::{Lpn, Ppa};
use crate::blocks::Stream;
use crate::config::{Config, FilledBy, Geometry};
use crate::drive::Ssd;
use crate::mapping::Location;
use crate::store::{Oob, Page};

/// What random overwrites of a drive come to.
#[derive(Clone, Debug)]
pub(crate) struct Steady {
    /// Valid pages of the full blocks of a plane, oldest first: of the first planes, which hold a page more, and of the others.
    more: Vec<u32>,
    fewer: Vec<u32>,
    planes_with_more: u32,
    /// The part of the oldest block that is valid.
    oldest: f64,
}

impl Steady {
    /// `None` if nothing is written.
    fn new(config: &Config, geometry: &Geometry, pages: u64) -> Option<Self> {
        // What a plane has free under random writes, and what of its open blocks is: half on average. (The host's and collection's
        // together are one.)
        let open_blocks = config.streams() + config.collection_streams();
        let free = geometry.gc_reserve_blocks + open_blocks.div_ceil(2);
        let blocks = geometry.good_blocks_per_plane().saturating_sub(free);
        let (each, rest) = (pages / u64::from(geometry.planes), pages % u64::from(geometry.planes));
        let (fewer, oldest) = decay(each, blocks, geometry.pages_per_block)?;
        let more = match rest {
            0 => Vec::new(),
            _ => decay(each + 1, blocks, geometry.pages_per_block)?.0,
        };
        Some(Self { more, fewer, planes_with_more: rest as u32, oldest })
    }

    /// Valid pages of the full blocks of a plane, oldest first.
    fn of_plane(&self, plane: u32) -> &[u32] {
        if plane < self.planes_with_more { &self.more } else { &self.fewer }
    }

    /// Programs for each page that the host writes.
    pub(crate) fn write_amplification(&self) -> f64 {
        1.0 / (1.0 - self.oldest)
    }
}

/// How `valid` pages are spread over `blocks` blocks, oldest first, each of which holds the same part of what the next younger one does;
/// and the part of the oldest that is valid. Only multiplications and additions: the same everywhere.
fn decay(valid: u64, blocks: u32, pages_per_block: u32) -> Option<(Vec<u32>, f64)> {
    let (pages, wanted) = (f64::from(pages_per_block), valid as f64);
    if valid == 0 || blocks < 2 || wanted >= pages * f64::from(blocks) {
        return None;
    }
    let held = |factor: f64| {
        let mut of_block = factor;
        (0..blocks).fold(0.0, |sum, _| {
            let held = of_block * pages;
            of_block *= factor;
            sum + held
        })
    };
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if held(middle) < wanted { low = middle } else { high = middle }
    }
    let (mut all, mut of_block, mut sum, mut given) = (Vec::new(), high, 0.0, 0u64);
    for _ in 0..blocks {
        sum += of_block * pages;
        of_block *= high;
        // What was rounded away comes with the next.
        let count = (sum as u64).min(valid).saturating_sub(given).min(pages_per_block.into());
        given += count;
        all.push(count as u32);
    }
    // The rest, less than a block of it, goes where there is room.
    for count in all.iter_mut() {
        let more = (valid - given).min(u64::from(pages_per_block - *count));
        *count += more as u32;
        given += more;
    }
    all.reverse();
    Some((all, of_block / high))
}

/// All numbers below a bound in a random order, without a list of them: a Feistel network over as many bits as they need, applied again
/// to what comes out too large (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002).
struct Shuffled {
    bound: u64,
    half_bits: u32,
    keys: [u64; 4],
}

impl Shuffled {
    fn new(bound: u64, seed: u64) -> Self {
        let bits = u64::BITS - bound.saturating_sub(1).leading_zeros();
        let mut prng = Prng::new(seed);
        let keys = core::array::from_fn(|_| prng.next_u64());
        Self { bound, half_bits: bits.div_ceil(2).max(1), keys }
    }

    fn at(&self, number: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let mut value = number;
        loop {
            let (mut left, mut right) = (value >> self.half_bits, value & mask);
            for key in self.keys {
                let mixed = (right ^ key).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                (left, right) = (right, left ^ mixed >> 32 & mask);
            }
            value = left << self.half_bits | right;
            if value < self.bound {
                return value;
            }
        }
    }
}

impl Ssd {
    /// Writes what is written on a new drive: it takes no time and counts nowhere. All these pages share their bytes.
    pub(crate) fn fill(&mut self) {
        let pages = filled_pages(&self.config, &self.geometry);
        let steady = match self.config.filled_by {
            FilledBy::Sequence => None,
            FilledBy::RandomOverwrites => Steady::new(&self.config, &self.geometry, pages),
        };
        match steady {
            None => self.fill_in_order(pages),
            Some(steady) => self.fill_at_random(pages, &steady),
        }
        self.blocks.written_before();
    }

    fn fill_in_order(&mut self, pages: u64) {
        let content = self.zeroes();
        let together = self.geometry.pages_per_program;
        for first in (0..pages).step_by(together as usize) {
            let to = self.allocate(self.now, 0).expect("a drive has room for its capacity");
            for at in 0..together {
                let (ppa, lpn) = (self.geometry.page_after(to, at), first + u64::from(at));
                let lpn = (lpn < pages).then_some(Lpn(lpn));
                self.fill_page(ppa, lpn, &content);
            }
        }
    }

    /// Where a page would be if the drive had been filled in order.
    pub(crate) fn filled_place(&self, lpn: Lpn) -> Ppa {
        let geometry = &self.geometry;
        let (together, planes) =
            (u64::from(geometry.pages_per_program), u64::from(geometry.planes));
        let (program, at) = (lpn.0 / together, lpn.0 % together);
        let (plane, of_plane) = ((program % planes) as u32, program / planes);
        let page = of_plane * together + at;
        let per_block = u64::from(geometry.pages_per_block);
        let block = geometry.block(plane, (page / per_block) as u32);
        geometry.page(block, (page % per_block) as u32)
    }

    fn fill_at_random(&mut self, pages: u64, steady: &Steady) {
        let content = self.zeroes();
        let seed = self.config.filled_seed;
        let (shuffled, mut prng) = (Shuffled::new(pages, seed), Prng::new(!seed));
        let mut next = 0;
        let blocks = steady.fewer.len();
        let (all, together) = (self.geometry.pages_per_block, self.geometry.pages_per_program);
        for block in 0..blocks {
            for plane in 0..self.geometry.planes {
                // The youngest is two: the host's open block and collection's. Planes do not open the next ones at the same time.
                let of_host = if block + 1 == blocks {
                    prng.below(u64::from(all / together)) as u32 * together
                } else {
                    all
                };
                let (mut valid, mut first) = (u64::from(steady.of_plane(plane)[block]), None);
                for page in 0..all {
                    // Of the pages that are left any are valid, all sets of them equally likely.
                    let is_valid = prng.below(u64::from(all - page)) < valid;
                    valid -= u64::from(is_valid);
                    let lpn = is_valid.then(|| Lpn(shuffled.at(next)));
                    next += u64::from(is_valid);
                    let at = page % together;
                    if at == 0 {
                        let stream = if page < of_host {
                            Stream::host(0)
                        } else {
                            self.blocks.first_of_collection()
                        };
                        first = self.blocks.allocate(plane, stream, self.versions);
                    }
                    let first = first.expect("blocks that are free can be opened");
                    let ppa = self.geometry.page_after(first, at);
                    self.fill_page(ppa, lpn, &content);
                }
            }
        }
    }

    fn zeroes(&self) -> (Page, u32) {
        let zeroes = Page::from(vec![0; self.geometry.page_bytes as usize]);
        let checksum = crc32c::crc32c(&zeroes);
        (zeroes, checksum)
    }

    /// A page was programmed, for a logical page that still has it or for none.
    fn fill_page(&mut self, ppa: Ppa, lpn: Option<Lpn>, (bytes, checksum): &(Page, u32)) {
        self.versions += 1;
        if let (Some(lpn), Some(store)) = (lpn, &mut self.store) {
            let oob = Oob { lpn, version: self.versions, checksum: *checksum };
            let kept = store.program(ppa, Page::clone(bytes), oob);
            self.statistics.media_errors += u64::from(kept.is_err());
        }
        self.blocks.programmed(Instant::ZERO, ppa, lpn.unwrap_or(Lpn(0)), lpn.is_some());
        if let Some(lpn) = lpn {
            self.map.set(lpn, Location::Flash(ppa));
        }
    }
}

/// Pages that are written when a drive is new.
fn filled_pages(config: &Config, geometry: &Geometry) -> u64 {
    geometry.logical_pages * u64::from(config.filled_permille) / 1000
}

/// Programs for each page that a host writes at random to the filled part of such a drive, in the steady state, if collection takes the
/// oldest block: greedy collection needs some per cent less. `None` if nothing is filled.
pub fn steady_write_amplification(config: &Config) -> Option<f64> {
    let geometry = Geometry::new(config).ok()?;
    let steady = Steady::new(config, &geometry, filled_pages(config, &geometry))?;
    Some(steady.write_amplification())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_valid_shrinks_with_age_and_adds_up() {
        for (valid, blocks, pages) in [(1000, 20, 64), (1279, 20, 64), (17, 20, 64), (1, 2, 8)] {
            let (all, oldest) = decay(valid, blocks, pages).unwrap();
            assert_eq!(all.iter().map(|count| u64::from(*count)).sum::<u64>(), valid);
            assert!(all.len() == 20 || blocks != 20);
            assert!(all.iter().all(|count| *count <= pages) && (0.0..1.0).contains(&oldest));
            // Rounding may make neighbours differ by one the wrong way.
            assert!(all.windows(2).all(|two| two[0] <= two[1] + 1), "{all:?}");
        }
        assert!(decay(1280, 20, 64).is_none() && decay(0, 20, 64).is_none());
    }

    #[test]
    fn shuffled_numbers_are_all_there_once() {
        for bound in [1, 2, 3, 100, 1000, 4097] {
            let shuffled = Shuffled::new(bound, 7);
            let mut all: Vec<u64> = (0..bound).map(|number| shuffled.at(number)).collect();
            assert!(bound < 100 || !all.is_sorted());
            all.sort_unstable();
            assert!(all.into_iter().eq(0..bound));
        }
    }
}
