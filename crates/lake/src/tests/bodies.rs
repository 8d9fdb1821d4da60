//! Bodies and whole records come back byte for byte, hot and sealed.

use futures::TryStreamExt;
use onrecord_ledger::Committed;
use onrecord_proof::{Value, field};
use proptest::prelude::*;

use super::Fixture;
use super::records::{call, committed};
use crate::QueryLimits;

#[tokio::test]
async fn bodies_come_back_byte_for_byte_by_sql() {
    let bodies: [&[u8]; 6] =
        [b"", b"\xff\xfe\0{", br#"{"messages":[{"a":"\u00e9"},{"b":1}]}"#, b"data: x\n\n", b"[{},{}]", br#"{"a":[{"#];
    let records = bodies.iter().enumerate().map(|(index, body)| {
        let mut record = call(index as u64);
        record.record.set(&field::INPUT_BODY, *body);
        record
    });
    let fixture = Fixture::new(records.collect()).await;
    for _ in 0..2 {
        let statement = "SELECT body(onrecord_input_body) FROM records ORDER BY leaf_index";
        let query = fixture.lake.query(statement, QueryLimits::default()).await.unwrap();
        let batches: Vec<_> = query.try_collect().await.unwrap();
        let found: Vec<_> = batches
            .iter()
            .flat_map(|batch| {
                let column = datafusion::common::cast::as_binary_array(batch.column(0)).unwrap();
                column.iter().map(|body| body.unwrap().to_vec()).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(found, bodies);
        let text = fixture.query("SELECT input FROM interactions WHERE leaf_index = 1").await;
        assert_eq!(text, ["\u{fffd}\u{fffd}\0{"]);
        fixture.lake.seal().await.unwrap();
    }
}

#[tokio::test]
async fn a_body_that_is_sent_again_costs_little() {
    let long = "What a message says when it is long, and is sent again with every turn. ".repeat(40);
    let turns = |n: u64| {
        let messages: Vec<_> = (0..=n).map(|m| format!(r#"{{"content":"{m} {}"}}"#, noise(m, &long))).collect();
        let mut record = call(n);
        record.record.set(&field::INPUT_BODY, format!(r#"{{"messages":[{}]}}"#, messages.join(",")).into_bytes());
        record
    };
    let records: Vec<_> = (0..60).map(turns).collect();
    let last = records[59].record.get(&field::INPUT_BODY).and_then(Value::as_bytes).unwrap().len() as u64;
    let fixture = Fixture::new(records).await;
    let seal = fixture.lake.seal().await.unwrap().unwrap();
    assert!(seal.bytes < last * 5 / 4 + 60_000, "{} bytes for {last} that are new", seal.bytes);
}

/// A call of one of many conversations: its turn `turn`, in which the image is sent with the first message, as all clients do.
fn turn_with_image(index: u64, turn: usize, image: &str, way: fn(&str) -> String) -> Committed {
    let first = format!(r#"{{"role":"user","content":[{{"type":"text","text":"What is it?"}},{}]}}"#, way(image));
    let later: Vec<_> = (0..turn).map(|turn| format!(r#",{{"role":"user","content":"And {turn}?"}}"#)).collect();
    let later = later.concat();
    let mut record = call(index);
    record.record.set(&field::INPUT_BODY, format!(r#"{{"model":"m","messages":[{first}{later}]}}"#).into_bytes());
    record
}

fn by_url(image: &str) -> String {
    format!(r#"{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{image}"}}}}"#)
}

fn by_source(image: &str) -> String {
    format!(r#"{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{image}"}}}}"#)
}

/// The size of the data file that holds these records, which come back from it.
async fn sealed(records: Vec<Committed>) -> u64 {
    let mut fixture = Fixture::new(records.clone()).await;
    let seal = fixture.lake.seal().await.unwrap().unwrap();
    assert_eq!(seal.until, records.len() as u64);
    fixture.reopen().await;
    assert!(fixture.all().await == records, "each body comes back byte for byte");
    seal.bytes
}

#[tokio::test]
async fn an_image_is_stored_once_however_often_it_is_sent() {
    let image = base64(1, 200_000);
    let turns = |count: u64, way: fn(&str) -> String| {
        (0..count).map(|turn| turn_with_image(turn, turn as usize, &image, way)).collect::<Vec<_>>()
    };
    let (one, twenty) = (sealed(turns(1, by_url)).await, sealed(turns(20, by_url)).await);
    println!("a 200 KB image: one turn takes {one} bytes, 20 turns {twenty}");
    assert!(one > 200_000 && twenty < one + 20_000, "20 turns take {twenty} bytes, one {one}");
    let mut both = turns(20, by_url);
    both.extend((20..40).map(|at| turn_with_image(at, at as usize, &image, by_source)));
    let both = sealed(both).await;
    assert!(both < one + 40_000, "40 turns of two dialects take {both} bytes, one {one}");
}

#[tokio::test]
async fn images_that_fill_a_dictionary_are_stored_once_in_the_next() {
    let images: Vec<_> = (0..12).map(|seed| base64(seed, 1_000_000)).collect();
    let calls = (0..24).map(|at| turn_with_image(at, (at % 2) as usize, &images[at as usize / 2], by_url));
    let bytes = sealed(calls.collect()).await;
    println!("12 images of 1 MB, each sent twice, take {bytes} bytes");
    // The calls of one of them may be in two row groups.
    assert!((12_000_000..13_800_000).contains(&bytes), "{bytes} bytes for 12 images of 1 MB");
}

/// An image of so many bytes, in base64: nothing that compresses below its size.
fn base64(seed: u64, bytes: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let digit = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(ALPHABET[(state >> 32) as usize % 64])
    };
    (0..bytes.div_ceil(3) * 4).map(digit).collect()
}

/// Text that does not compress well, the same for the same number.
fn noise(seed: u64, text: &str) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let scramble = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + (state % 26) as u8)
    };
    text.chars().map(scramble).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn any_record_comes_back_from_its_data_file(records in proptest::collection::vec(committed(), 1..40)) {
        let renumbered: Vec<Committed> =
            records.into_iter().enumerate().map(|(at, record)| Committed { index: at as u64, ..record }).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut fixture = Fixture::new(renumbered.clone()).await;
            while fixture.lake.seal().await.unwrap().is_some() {}
            fixture.reopen().await;
            let found = fixture.all().await;
            for (record, found) in renumbered.iter().zip(&found) {
                assert_eq!(record.leaf().hash(), found.leaf().hash());
            }
            assert_eq!(renumbered, found);
        });
    }
}
