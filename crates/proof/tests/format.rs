//! `FORMAT.md` says of fields, groups, kinds and relations what the code says. `UPDATE_FORMAT=1` writes its table of
//! fields.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use onrecord_proof::{Field, Group, Kind, Rel, Shape, field};

const BEGIN: &str = "<!-- fields: written by `UPDATE_FORMAT=1 cargo test -p onrecord-proof --test format` -->\n";
const END: &str = "<!-- end of fields -->\n";

const fn shape(shape: Shape) -> &'static str {
    match shape {
        Shape::Text => "text",
        Shape::Int => "integer",
        Shape::Float => "float",
        Shape::Bool => "boolean",
        Shape::Bytes => "bytes",
        Shape::Body => "body",
        Shape::TextList => "texts",
        Shape::TextMap => "text map",
    }
}

fn fields() -> String {
    let mut table = String::from("| field | group | shape | meaning |\n| --- | --- | --- | --- |\n");
    for Field { group, name, shape: has, doc } in field::ALL {
        writeln!(table, "| `{name}` | `{group}` | {} | {doc} |", shape(*has)).unwrap();
    }
    table
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the table is written on request, into the sources")]
fn the_table_of_fields_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../FORMAT.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the beginning of the table");
    let (table, after) = rest.split_once(END).expect("the end of the table");
    if std::env::var_os("UPDATE_FORMAT").is_some() {
        return fs::write(&path, [before, BEGIN, &fields(), END, after].concat()).unwrap();
    }
    assert_eq!(table, fields(), "run this test with UPDATE_FORMAT=1");
}

#[test]
fn every_code_is_listed() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../FORMAT.md")).unwrap();
    let rows = |heading: &str| -> Vec<_> {
        let table = text.split_once(&format!("| code | {heading} |")).expect(heading).1;
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        rows.map(|row| row.splitn(4, '|').take(3).collect::<Vec<_>>().join("|")).collect()
    };
    let row = |code: u8, name: &str| format!("| {code} | `{name}` ");
    assert_eq!(rows("group"), Group::ALL.map(|group| row(group.code(), group.name())));
    assert_eq!(rows("kind"), Kind::ALL.iter().map(|kind| row(kind.code(), kind.name())).collect::<Vec<_>>());
    assert_eq!(rows("relation"), Rel::ALL.iter().map(|rel| row(rel.code(), rel.name())).collect::<Vec<_>>());
}
