//! Random requests against a plain map.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use simtime::{Bandwidth, Duration, Instant, Prng};
use ssd::{Config, Lpn, RequestId, Span, Ssd};

use crate::{PAGE, bytes, config, drain, page};

const SECTOR: u32 = 512;

/// What the host last wrote, byte by byte.
#[derive(Clone)]
struct Host {
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Host {
    fn write(&mut self, span: Span, byte: u8) -> Vec<u8> {
        let page = self.pages.entry(span.lpn.0).or_insert_with(|| vec![0; PAGE as usize]);
        let bytes = vec![byte; span.len as usize];
        page[span.offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        bytes
    }

    fn check(&self, ssd: &Ssd) {
        for (&lpn, expected) in &self.pages {
            assert_eq!(&bytes(ssd, page(lpn)), expected, "page {lpn}");
        }
    }
}

fn some_span(prng: &mut Prng, pages: u64) -> Span {
    let lpn = Lpn(prng.below(pages));
    if prng.below(3) > 0 {
        return Span { lpn, offset: 0, len: PAGE };
    }
    let sectors = PAGE / SECTOR;
    let first = prng.below(sectors.into()) as u32;
    let count = 1 + prng.below(u64::from(sectors - first)) as u32;
    Span { lpn, offset: first * SECTOR, len: count * SECTOR }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Every request that is not forgotten is done once, contents are those last written at every moment, and the map, the
    /// reverse map and the valid counts agree, with collection running, in two futures of one drive as well.
    #[test]
    fn requests_are_done_once_and_bytes_are_those_last_written(
        seed in any::<u64>(),
        buffer_pages in 0u64..64,
        channels in 1u32..3,
        channel_ns in 0u64..5000,
    ) {
        let config = Config {
            capacity_bytes: 4 << 20,
            channels,
            dies_per_channel: 1,
            pages_per_block: 16,
            write_buffer_bytes: buffer_pages * u64::from(PAGE),
            write_buffer_delay: Duration::from_us(channel_ns),
            channel_bandwidth: Bandwidth::from_bytes_per_s(4_096_000_000_000 / (channel_ns + 1)),
            ..config()
        };
        let mut ssd = Ssd::new(&config).unwrap();
        let pages = ssd.geometry().logical_pages;
        let mut prng = Prng::new(seed);
        let mut host = Host { pages: BTreeMap::new() };
        let (mut now, mut outstanding, mut done) = (Instant::ZERO, BTreeMap::new(), Vec::new());
        let (mut reads, mut forgotten) = (BTreeSet::new(), Vec::new());
        let mut other = None;
        for id in 1..6000u64 {
            if prng.below(50) == 0 {
                let first = prng.below(pages);
                let count = prng.below(first + 1).min(pages - first);
                ssd.deallocate(now, Lpn(first), count);
                for lpn in first..first + count {
                    host.pages.insert(lpn, vec![0; PAGE as usize]);
                }
            }
            let span = some_span(&mut prng, pages);
            outstanding.insert(id, now);
            match prng.below(20) {
                0 => ssd.flush(now, RequestId(id)),
                1..=4 => {
                    reads.insert(id);
                    ssd.read(now, RequestId(id), span);
                }
                n => {
                    let data = host.write(span, id as u8);
                    ssd.write(now, RequestId(id), span, n < 7, Some(&data));
                }
            }
            if prng.below(8) == 0 {
                prop_assert_eq!(&bytes(&ssd, page(span.lpn.0)), host.pages.entry(span.lpn.0).or_insert_with(|| vec![0; PAGE as usize]));
            }
            if prng.below(3) == 0 {
                now += Duration::from_ns(prng.below(100_000));
                ssd.advance(now, &mut done);
            }
            if prng.below(200) == 0 {
                // What is done already is no concern of forgetting.
                ssd.advance(now, &mut done);
                let unwanted = |id: RequestId| id.0.is_multiple_of(7) && reads.contains(&id.0);
                ssd.forget(now, |id| !unwanted(id));
                forgotten.extend(outstanding.keys().copied().filter(|id| unwanted(RequestId(*id))));
                ssd.check();
            }
            if id == 3000 {
                ssd.advance(now, &mut done);
                other = Some((ssd.fork().unwrap(), host.clone()));
            }
        }
        // One future does not touch the other.
        let (mut other, other_host) = other.unwrap();
        other_host.check(&other);
        drain(&mut other);
        other_host.check(&other);
        other.check();
        done.extend(drain(&mut ssd));
        for d in done {
            let submitted = outstanding.remove(&d.id.0);
            prop_assert!(submitted.is_some_and(|s| s <= d.at), "{d:?} was done twice or early");
            prop_assert!(d.result.is_ok());
        }
        for id in forgotten {
            outstanding.remove(&id);
        }
        prop_assert!(outstanding.is_empty(), "never done: {outstanding:?}");
        prop_assert_eq!(ssd.backlog(), 0);
        host.check(&ssd);
        ssd.check();
    }
}
