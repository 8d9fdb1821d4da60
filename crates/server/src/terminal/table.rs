//! Rows in aligned columns that fit the terminal.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::style::Paint;
use super::{Style, Terminal, escape};

const GAP: &str = "  ";

/// A column of a table.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    title: Cow<'static, str>,
    align_right: bool,
    /// How narrow it may get; `usize::MAX` if it must show everything.
    least: usize,
    /// How wide it is at least, for rows that are yet to come.
    room: usize,
}

/// One cell: any text, which is escaped when it is printed.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    style: Option<Style>,
}

/// The widths that a table's columns were given.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    columns: Vec<Column>,
    widths: Vec<usize>,
    paint: Paint,
}

impl Column {
    /// A column on the left edge of which its cells stand, and that is never cut.
    pub(crate) fn new(title: impl Into<Cow<'static, str>>) -> Self {
        Self { title: title.into(), align_right: false, least: usize::MAX, room: 0 }
    }

    /// For numbers.
    pub(crate) fn right(self) -> Self {
        Self { align_right: true, ..self }
    }

    /// May be cut down to `least` columns if the line gets too long; the widest such column is cut first.
    pub(crate) fn cut_to(self, least: usize) -> Self {
        Self { least, ..self }
    }

    /// Keeps this much room from the start, where rows are printed as they come.
    pub(crate) fn room(self, room: usize) -> Self {
        Self { room, ..self }
    }
}

impl Cell {
    /// The cell in `style`.
    pub(crate) fn styled(self, style: Style) -> Self {
        Self { style: Some(style), ..self }
    }

    fn shown(&self) -> Cow<'_, str> {
        escape(&self.text)
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: None }
    }
}

impl Layout {
    /// Gives each column the width that `rows` need, and then takes from the widest until a line fits.
    pub(crate) fn fit(columns: Vec<Column>, rows: &[Vec<Cell>], terminal: Terminal) -> Self {
        let needed = |index: usize| rows.iter().filter_map(move |row| row.get(index)).map(|cell| cell.shown().width());
        let natural = |(index, column): (usize, &Column)| {
            needed(index).max().unwrap_or(0).max(column.title.width()).max(column.room)
        };
        let mut widths: Vec<_> = columns.iter().enumerate().map(natural).collect();
        shrink(&columns, &mut widths, terminal.width);
        Self { columns, widths, paint: terminal.paint }
    }

    /// The line with the titles.
    pub(crate) fn header(&self) -> String {
        let titles: Vec<_> = self.columns.iter().map(|column| Cell::from(&*column.title).styled(Style::Bold)).collect();
        self.row(&titles)
    }

    /// One line.
    pub(crate) fn row(&self, cells: &[Cell]) -> String {
        let mut line = String::new();
        for (index, cell) in cells.iter().take(self.columns.len()).enumerate() {
            let separator = if index == 0 { "" } else { GAP };
            line.push_str(separator);
            self.push(&mut line, index, cell, index + 1 == cells.len());
        }
        line.truncate(line.trim_end().len());
        line
    }

    fn push(&self, line: &mut String, index: usize, cell: &Cell, is_last: bool) {
        let shown = cell.shown();
        let shown = if self.columns[index].least == usize::MAX { shown } else { cut(shown, self.widths[index]) };
        let padding = " ".repeat(self.widths[index].saturating_sub(shown.width()));
        let painted = cell.style.map(|style| self.paint.apply(style, &shown));
        let painted = painted.as_deref().unwrap_or(&shown);
        match (self.columns[index].align_right, is_last) {
            (true, _) => line.extend([&padding, painted]),
            (false, false) => line.extend([painted, &padding]),
            (false, true) => line.push_str(painted),
        }
    }
}

/// A whole table, ending with a line feed.
pub(crate) fn table(columns: Vec<Column>, rows: &[Vec<Cell>], terminal: Terminal) -> String {
    let layout = Layout::fit(columns, rows, terminal);
    let lines = std::iter::once(layout.header()).chain(rows.iter().map(|row| layout.row(row)));
    lines.map(|line| line + "\n").collect()
}

/// Takes one column of width at a time from the widest that may still give; lines stay long if none may.
fn shrink(columns: &[Column], widths: &mut [usize], available: usize) {
    let gaps = GAP.len() * columns.len().saturating_sub(1);
    let mut excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(available);
    while excess > 0 {
        let can_give = |(index, width): &(usize, &mut usize)| **width > columns[*index].least;
        let Some((_, width)) = widths.iter_mut().enumerate().filter(can_give).max_by_key(|(_, width)| **width) else {
            return;
        };
        *width -= 1;
        excess -= 1;
    }
}

/// The beginning of a text, with `…` where it was cut.
fn cut(text: Cow<'_, str>, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return text;
    }
    let mut used = 1;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= width
    };
    let mut short: String = text.chars().take_while(fits).collect();
    short.push('…');
    Cow::Owned(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal(width: usize) -> Terminal {
        Terminal { width, paint: Paint::new(false) }
    }

    fn row(cells: &[&str]) -> Vec<Cell> {
        cells.iter().map(|cell| Cell::from(*cell)).collect()
    }

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let columns = vec![Column::new("model"), Column::new("tokens").right(), Column::new("outcome")];
        let rows = [row(&["寿司", "7", "completed"]), row(&["llama-é", "12345678", "x\u{1b}[2J"]), row(&["a", "", ""])];
        let expected = "model      tokens  outcome\n\
                        寿司            7  completed\n\
                        llama-é  12345678  x\\u{1b}[2J\n\
                        a\n";
        assert_eq!(table(columns, &rows, terminal(80)), expected);
    }

    #[test]
    fn the_widest_column_gives_way_first() {
        let columns = || vec![Column::new("id"), Column::new("input").cut_to(4), Column::new("model").cut_to(4)];
        let rows = [row(&["0198c2d4", "what is the meaning of it", "tiny-model"])];
        for (width, expected) in [
            (80, "0198c2d4  what is the meaning of it  tiny-model"),
            (40, "0198c2d4  what is the meani…  tiny-model"),
            (24, "0198c2d4  what …  tiny-…"),
            (5, "0198c2d4  wha…  tin…"),
        ] {
            let shown = Layout::fit(columns(), &rows, terminal(width)).row(&rows[0]);
            assert_eq!(shown, expected);
            assert!(shown.width() <= width.max(20));
        }
    }

    #[test]
    fn wide_characters_are_cut_whole() {
        assert_eq!(cut("寿司寿司".into(), 6), "寿司…");
        assert_eq!(cut("寿司寿司".into(), 8), "寿司寿司");
        assert_eq!(cut("abc".into(), 1), "…");
        assert_eq!(cut("".into(), 0), "");
    }

    #[test]
    fn later_rows_find_room() {
        let columns = vec![Column::new("model").room(8).cut_to(8), Column::new("out")];
        let layout = Layout::fit(columns, &[], terminal(80));
        assert_eq!(layout.header(), "model     out");
        assert_eq!(layout.row(&row(&["a-long-model", "ok"])), "a-long-…  ok");
    }

    #[test]
    fn color_takes_no_width() {
        let colored = Terminal { paint: Paint::new(true), ..terminal(80) };
        let layout = Layout::fit(vec![Column::new("a").room(5), Column::new("b")], &[], colored);
        let line = layout.row(&[Cell::from("bad").styled(Style::Red), "x".into()]);
        assert_eq!(line, "\u{1b}[31mbad\u{1b}[0m    x");
    }
}
