//! Decode, encode and fan-out encoding: `cargo bench -p stampede-protocol`.
#![allow(missing_docs, reason = "the macro's items have none")]

mod work;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use work::FanOut;

fn decode(criterion: &mut Criterion) {
    const FRAMES: usize = 100;
    let wire = work::wire(FRAMES);
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(FRAMES as u64));
    for (name, piece) in [("whole frames", wire.len()), ("pieces of 1460 octets", 1460), ("pieces of 16 octets", 16)] {
        group.bench_function(name, |bencher| bencher.iter(|| work::decode(black_box(&wire), piece)));
    }
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let frame = work::chat();
    let mut out = Vec::new();
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(1));
    group.bench_function("chat message", |bencher| bencher.iter(|| work::encode_into(black_box(&frame), &mut out)));
    group.finish();
}

fn fan_out(criterion: &mut Criterion) {
    const SUBSCRIBERS: usize = 1000;
    let fan_out = FanOut::to(SUBSCRIBERS);
    let mut out = Vec::new();
    let mut group = criterion.benchmark_group("fan-out");
    group.throughput(Throughput::Elements(SUBSCRIBERS as u64));
    group.bench_function("head from template", |bencher| {
        bencher.iter(|| black_box(&fan_out).write(&mut out, false));
    });
    group.bench_function("head from template, and body", |bencher| {
        bencher.iter(|| black_box(&fan_out).write(&mut out, true));
    });
    group.bench_function("head encoded each time", |bencher| {
        bencher.iter(|| black_box(&fan_out).write_each(&mut out));
    });
    group.finish();
}

criterion_group!(benches, decode, encode, fan_out);
criterion_main!(benches);
