//! What a record costs: CPU of this process and latency, for 10 KiB records in batches of 1, 4 and
//! 16, beside a bare overwrite with an fdatasync.
//!
//! `cargo run --release -p gateway-journal --example journal_cost [FOLDER]`
//!
//! The folder should lie on the disk that is to be measured; without one a folder in the system's
//! place for temporary files is used, which may be memory.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use gateway_journal::{Journal, Options, SyncMode};

const RECORD: usize = 10 << 10;
const ROUNDS: usize = 3;
const RECORDS: usize = 6_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("journal-cost-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    for round in 1..=ROUNDS {
        println!("round {round}: CPU µs a record; µs from append to receipt, p50 and p99");
        for batch in [1, 4, 16] {
            measure_journal(&folder, batch)?;
            measure_bare(&folder, batch)?;
        }
    }
    fs::remove_dir_all(&folder)?;
    Ok(())
}

fn measure_journal(folder: &Path, batch: usize) -> Result<(), Box<dyn std::error::Error>> {
    let dir = folder.join("journal");
    let (tell, told) = mpsc::channel();
    let journal = Journal::open(&dir, Options::default(), move |progress| {
        // The receiver outlives the journal.
        let _ = tell.send(progress.synced);
    })?;
    report("journal", batch, || {
        let mut last = 0;
        for nth in 1..=batch {
            let sync = if nth == batch {
                SyncMode::Now
            } else {
                SyncMode::Lazy
            };
            last = journal.append(vec![7; RECORD], sync)?;
        }
        while told.recv_timeout(Duration::from_secs(10))? < last {}
        // As the store does, far enough behind for segments to be used again and again.
        journal.trim(last.saturating_sub(1_000));
        Ok(())
    })?;
    journal.close(Duration::from_secs(10))?;
    fs::remove_dir_all(&dir)?;
    Ok(())
}

fn measure_bare(folder: &Path, batch: usize) -> Result<(), Box<dyn std::error::Error>> {
    const LEN: u64 = 64 << 20;
    let path = folder.join("bare");
    let file = File::create(&path)?;
    for at in 0..LEN >> 20 {
        file.write_all_at(&[0; 1 << 20], at << 20)?;
    }
    file.sync_all()?;
    let mut at = 0;
    report("bare", batch, || {
        let records = vec![7; RECORD * batch];
        if at + records.len() as u64 > LEN {
            at = 0;
        }
        file.write_all_at(&records, at)?;
        file.sync_data()?;
        at = (at + records.len() as u64).next_multiple_of(4096);
        Ok(())
    })?;
    fs::remove_file(&path)?;
    Ok(())
}

fn report(
    name: &str,
    batch: usize,
    mut once: impl FnMut() -> Result<(), Box<dyn std::error::Error>>,
) -> Result<(), Box<dyn std::error::Error>> {
    let times = RECORDS / batch.max(2);
    // Long enough for every segment to have been written before.
    for _ in 0..times * 4 {
        once()?;
    }
    let mut waits = Vec::with_capacity(times);
    let before = cpu()?;
    for _ in 0..times {
        let begin = Instant::now();
        once()?;
        waits.push(begin.elapsed());
    }
    let cpu = (cpu()? - before).as_secs_f64() * 1e6 / (times * batch) as f64;
    waits.sort();
    let (p50, p99) = (
        waits[times / 2].as_micros(),
        waits[times * 99 / 100].as_micros(),
    );
    println!("  {name:8} batches of {batch:2}: {cpu:6.1}   {p50:6} {p99:6}");
    Ok(())
}

/// CPU time of all threads of this process.
fn cpu() -> std::io::Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let stat = fs::read_to_string(task?.path().join("schedstat"))?;
        let ran = stat
            .split(' ')
            .next()
            .and_then(|first| first.parse::<u64>().ok());
        nanos += ran.unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanos))
}
