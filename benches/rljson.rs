//! Cost of rows of rljson and of merging trees, for people: `cargo bench --bench rljson`.

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lockstep::codec::rljson::{Hash, ROW_BYTES_MAX, Row, blob_id, hash, parse_row, verify};
use lockstep::protocol::rljson::merge::{Conflicts, merge};

const DIRECTORIES: usize = 20;
const FILES: usize = 50;

/// All rows there are.
#[derive(Default)]
struct Forest(BTreeMap<Hash, String>);

impl Forest {
    /// Adds a row of these members with its hash, as do objects in it.
    fn add(&mut self, members: &str) -> Hash {
        let (own, text) = sealed(members);
        self.0.insert(own, text);
        own
    }

    fn file(&mut self, path: &str, content: u64) -> Hash {
        let (name, blob) = (name_of(path), blob_id(&content.to_le_bytes()));
        let (_, meta) = sealed(&format!(
            "\"name\":\"{name}\",\"type\":\"file\",\"relativePath\":\"{path}\",\"size\":8,\
             \"mtime\":{},\"blobId\":\"{blob}\"",
            1_700_000_000_000 + content
        ));
        self.add(&format!("\"id\":\"{name}\",\"isParent\":false,\"meta\":{meta}"))
    }

    fn directory(&mut self, path: &str, children: &[Hash]) -> Hash {
        let name = name_of(path);
        let (_, meta) = sealed(&format!(
            "\"name\":\"{name}\",\"type\":\"directory\",\"relativePath\":\"{path}\""
        ));
        let children: Vec<String> = children.iter().map(|child| format!("\"{child}\"")).collect();
        let children = children.join(",");
        self.add(&format!(
            "\"id\":\"{name}\",\"isParent\":true,\"meta\":{meta},\"children\":[{children}]"
        ))
    }

    /// A tree of 1,000 files in 20 directories, those that `content` says having another one.
    fn tree(&mut self, content: impl Fn(usize) -> u64) -> Hash {
        let mut directories = Vec::new();
        for directory in 0..DIRECTORIES {
            let file = |number: usize| directory * FILES + number;
            let files: Vec<Hash> = (0..FILES)
                .map(|n| self.file(&format!("src-{directory}/module-{n}.ts"), content(file(n))))
                .collect();
            directories.push(self.directory(&format!("src-{directory}"), &files));
        }
        self.directory(".", &directories)
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// An object of these members and its hash.
fn sealed(members: &str) -> (Hash, String) {
    let row = parse_row(&format!("{{{members}}}")).map(hash);
    let own = row.expect("it was written as JSON").expect("it can be hashed");
    (own, format!("{{{members},\"_hash\":\"{own}\"}}"))
}

fn bench_rows(criterion: &mut Criterion) {
    let mut forest = Forest::default();
    let file = forest.file("src-7/module-12.ts", 5);
    let children: Vec<Hash> = (0..1_000).map(|n| blob_id(&[n as u8, (n >> 8) as u8])).collect();
    let directory = forest.directory("src-7", &children);
    let mut group = criterion.benchmark_group("rljson_row");
    for (name, own) in [("file", file), ("directory/1000", directory)] {
        let text = &forest.0[&own];
        assert!(text.len() < ROW_BYTES_MAX);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(format!("hash/{name}"), |bencher| {
            bencher.iter(|| parse_row(black_box(text)).map(hash));
        });
        group.bench_function(format!("verify/{name}"), |bencher| {
            bencher.iter(|| parse_row(black_box(text)).map(verify));
        });
        group.bench_function(format!("read/{name}"), |bencher| {
            bencher.iter(|| Row::read(own, black_box(text)).is_ok());
        });
    }
}

/// Two trees of 1,000 files, made from a third.
fn bench_merge(criterion: &mut Criterion) {
    let mut forest = Forest::default();
    let base = forest.tree(|_| 0);
    let sides = [
        (
            "an edit on each side",
            forest.tree(|n| u64::from(n == 7)),
            forest.tree(|n| u64::from(n == 993)),
        ),
        (
            "every file edited on one of them",
            forest.tree(|n| (n % 2) as u64),
            forest.tree(|n| ((n + 1) % 2 * 2) as u64),
        ),
        ("every file edited on both", forest.tree(|_| 1), forest.tree(|_| 2)),
    ];
    let lookup = |hash: &Hash| forest.0.get(hash).map(String::as_str);
    let mut group = criterion.benchmark_group("rljson_merge");
    for (name, ours, theirs) in sides {
        let merged = merge(&[Some(base)], ours, theirs, Conflicts::KeepBoth, lookup);
        assert!(merged.is_ok_and(|merged| ![base, ours, theirs].contains(&merged.root)));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                merge(&[Some(base)], black_box(ours), theirs, Conflicts::KeepBoth, lookup)
            });
        });
    }
}

criterion_group!(benches, bench_rows, bench_merge);
criterion_main!(benches);
