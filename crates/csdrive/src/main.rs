mod bench;
fn main() -> anyhow::Result<()> {
    println!("{:#}", bench::simulation::run(2_000_000, |k| eprintln!("{k}"))?);
    Ok(())
}
