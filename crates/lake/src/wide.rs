//! The columns of a data file that have many bytes in each row, as bodies have. They are noted in the table, so that it is
//! known before a file is opened how many of its rows fit into memory at once.

use std::collections::{BTreeMap, HashMap};

use datafusion::parquet::file::metadata::RowGroupMetaData;

use crate::schema::COLUMNS;

/// What precedes a column's name in the tags of a data file.
const TAG: &str = "row_bytes.";
/// A column of fewer bytes in a row is not noted.
const WIDE: u64 = 1 << 10;
/// About so many bytes of texts and bodies are decoded at once.
const AT_ONCE: u64 = 32 << 20;

/// How many rows of so many bytes are decoded at once: `most`, or as many as fit.
pub(crate) fn rows_at_once(row_bytes: u64, most: usize) -> usize {
    usize::try_from(AT_ONCE / row_bytes.max(1)).unwrap_or(most).clamp(1, most)
}

/// The wide columns of a file by their place among all columns, each with its bytes in a row: the average of the row group in
/// which that is most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wide(BTreeMap<usize, u64>);

impl Wide {
    /// Those of a file of these row groups.
    pub(crate) fn of(row_groups: &[RowGroupMetaData]) -> Self {
        let mut wide = BTreeMap::<_, u64>::new();
        for row_group in row_groups {
            for (at, bytes) in bytes_of_columns(row_group) {
                let bytes = bytes / (row_group.num_rows() as u64).max(1);
                if bytes >= WIDE {
                    let most = wide.entry(at).or_default();
                    *most = bytes.max(*most);
                }
            }
        }
        Self(wide)
    }

    /// As the table notes them.
    pub(crate) fn to_tags(&self) -> HashMap<String, Option<String>> {
        let tag =
            |(at, bytes): (&usize, &u64)| (format!("{TAG}{}", COLUMNS[*at].field.name()), Some(bytes.to_string()));
        self.0.iter().map(tag).collect()
    }

    /// What the table has noted; of a file that others have written, nothing.
    pub(crate) fn of_tags(tags: &HashMap<String, Option<String>>) -> Self {
        let wide = |(tag, bytes): (&String, &Option<String>)| {
            Some((place(tag.strip_prefix(TAG)?)?, bytes.as_ref()?.parse().ok()?))
        };
        Self(tags.iter().filter_map(wide).collect())
    }

    /// Bytes of a row in some of the columns.
    pub(crate) fn row_bytes(&self, columns: &[usize]) -> u64 {
        columns.iter().filter_map(|at| self.0.get(at)).sum()
    }
}

/// Bytes of texts and bodies in each column of a row group, each as often as it is there.
fn bytes_of_columns(row_group: &RowGroupMetaData) -> BTreeMap<usize, u64> {
    let mut columns = BTreeMap::<_, u64>::new();
    for chunk in row_group.columns() {
        let bytes = chunk.unencoded_byte_array_data_bytes().and_then(|bytes| u64::try_from(bytes).ok());
        let at = chunk.column_path().parts().first().and_then(|name| place(name));
        if let Some((at, bytes)) = at.zip(bytes) {
            *columns.entry(at).or_default() += bytes;
        }
    }
    columns
}

fn place(column: &str) -> Option<usize> {
    COLUMNS.iter().position(|known| known.field.name() == column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_fit() {
        assert_eq!(rows_at_once(0, 2048), 2048);
        assert_eq!(rows_at_once(16 << 10, 2048), 2048);
        assert_eq!(rows_at_once(1 << 20, 2048), 32);
        assert_eq!(rows_at_once(1 << 40, 2048), 1);
    }

    #[test]
    fn tags_come_back_and_others_are_passed_over() {
        let (input, answer) = (place("onrecord_input_body").unwrap(), place("onrecord_output_text").unwrap());
        let wide = Wide([(input, 5000), (answer, 1024)].into());
        let mut tags = wide.to_tags();
        assert_eq!(Wide::of_tags(&tags), wide);
        tags.extend([("row_bytes.id".to_owned(), None), ("OPTIMIZE_TARGET_SIZE".to_owned(), Some("1".to_owned()))]);
        tags.insert("row_bytes.of_tomorrow".to_owned(), Some("5".to_owned()));
        assert_eq!(Wide::of_tags(&tags), wide);
        assert_eq!((wide.row_bytes(&[0, input, answer]), wide.row_bytes(&[0])), (6024, 0));
    }
}
