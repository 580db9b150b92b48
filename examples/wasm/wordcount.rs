//! Counts words: a program with a `main`, as it runs anywhere. Under csdrive its inputs are standard input, range 0 is standard output.
//!
//!     rustc -O --target wasm32-wasip1 wordcount.rs

use std::collections::HashMap;
use std::io::{self, BufRead, Write};

fn main() -> io::Result<()> {
    let mut counts: HashMap<String, u64> = HashMap::new();
    for line in io::stdin().lock().lines() {
        for word in line?.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|(a, n), (b, m)| m.cmp(n).then(a.cmp(b)));
    // The number of lines is an argument: csdrive's --data.
    let lines = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
    let mut out = io::BufWriter::new(io::stdout().lock());
    for (word, count) in counts.iter().take(lines) {
        writeln!(out, "{count} {word}")?;
    }
    out.flush()
}
