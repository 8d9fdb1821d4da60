//! The documented file that `onrecord config example` prints.

use super::FILE_NAME;
use super::keys::SECTIONS;
use super::section::{Key, Section};

/// A complete configuration file: every key with its documentation and its default. A key without a default is
/// commented out and shows an example, and so is a section that can be there several times.
pub(crate) fn example() -> String {
    let mut text = format!(
        "# {FILE_NAME}: every key, with its default. A key that is commented out has none and shows an example.\n\
         # Found through `--config`, else in the working folder, else in the data folder. Flags and environment\n\
         # variables outrank it. A relative path starts from the folder of this file.\n"
    );
    for section in SECTIONS {
        text.push_str(&section_text(section));
    }
    text
}

fn section_text(section: &Section) -> String {
    let title = match section.name {
        "" => String::new(),
        name if section.repeated => format!("# [[{name}]]\n"),
        name => format!("[{name}]\n"),
    };
    let keys: String = section.keys.iter().map(|key| key_text(key, section.repeated)).collect();
    format!("\n{}{title}{keys}", comment(section.about))
}

fn key_text(key: &Key, is_example: bool) -> String {
    let range = key.preset.range.map(|(least, most)| format!(" From {least} to {most}.\n")).unwrap_or_default();
    let mark = if key.preset.is_default && !is_example { "" } else { "# " };
    format!("\n{}{}{mark}{} = {}\n", comment(key.doc), comment(&range), key.name, key.preset.value)
}

/// Documentation lines keep the space that followed `///`.
fn comment(doc: &str) -> String {
    doc.lines().flat_map(|line| ["#", line, "\n"]).collect()
}
