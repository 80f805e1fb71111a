//! The corpus of the fuzz targets and all fixtures, replayed through what the targets check.

use std::path::Path;

use gateway_trace::Endpoint;

use crate::replay::{FOLDERS, fixtures};

#[expect(unreachable_pub, reason = "the fuzz targets are crates of their own")]
#[path = "../../../../fuzz/src/lib.rs"]
mod targets;

use targets::{dialect, json, sse};

/// The inputs that a fuzzer once found worth keeping.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let entries = std::fs::read_dir(folder).expect("a corpus");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        std::fs::read(entry.expect("an entry of a folder").path()).expect("a file")
    };
    let corpus: Vec<_> = entries.map(read).collect();
    assert!(!corpus.is_empty(), "{target}");
    corpus
}

#[test]
fn the_corpus_of_the_codec() {
    corpus("sse").iter().for_each(|data| sse::check(data));
    for (folder, _) in FOLDERS {
        for (name, body) in fixtures(folder) {
            if name.ends_with(".sse") {
                sse::check(&[b"cu", &body[..]].concat());
            }
        }
    }
}

#[test]
fn the_corpus_of_the_json_text() {
    corpus("json").iter().for_each(|data| json::check(data));
    for folder in FOLDERS
        .map(|(folder, _)| folder)
        .into_iter()
        .chain(["errors"])
    {
        for body in fixtures(folder).values() {
            json::check(&[b"cu", &body[..]].concat());
        }
    }
}

#[test]
fn the_corpora_of_the_dialects() {
    for (target, endpoint) in FOLDERS {
        corpus(target)
            .iter()
            .for_each(|data| dialect::check(endpoint, data));
    }
}

/// Replies of one endpoint are hostile ones of the others.
#[test]
fn every_reply_as_one_of_every_dialect() {
    for folder in FOLDERS
        .map(|(folder, _)| folder)
        .into_iter()
        .chain(["errors"])
    {
        let files = fixtures(folder);
        for (name, body) in &files {
            let (stem, ending) = name.split_once('.').expect("an ending");
            let request = files
                .get(&format!("{stem}.request.json"))
                .map_or(&b"{}"[..], |body| body);
            let input = dialect::exchange(ending == "sse", request, body);
            Endpoint::ALL
                .into_iter()
                .for_each(|endpoint| dialect::check(endpoint, &input));
        }
    }
}
