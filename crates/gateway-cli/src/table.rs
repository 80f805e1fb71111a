//! Tables: aligned, and no wider than the screen.

use crate::screen::{Screen, Tone};
use crate::text::{cut, width};

/// What stands between two columns.
const GAP: usize = 2;

/// A column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    title: &'static str,
    is_number: bool,
    /// How narrow it may become; 0 for one that is never cut.
    least: usize,
    /// Where the screen is too narrow, columns are left out, the highest of these numbers first; 0
    /// for one that always stays.
    rank: u8,
}

impl Column {
    /// A column of words that are never cut.
    pub(crate) const fn words(title: &'static str, rank: u8) -> Self {
        Self {
            title,
            is_number: false,
            least: 0,
            rank,
        }
    }

    /// A column of numbers.
    pub(crate) const fn numbers(title: &'static str, rank: u8) -> Self {
        Self {
            is_number: true,
            ..Self::words(title, rank)
        }
    }

    /// A column of texts that may be cut to `least` columns.
    pub(crate) const fn texts(title: &'static str, least: usize, rank: u8) -> Self {
        Self {
            least,
            ..Self::words(title, rank)
        }
    }
}

/// A cell: one line, with no control character in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            tone: Tone::Plain,
        }
    }

    pub(crate) fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }
}

impl<T: ToString> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        Cell::new(value.map_or_else(String::new, |value| value.to_string()))
    }
}

/// A table that may grow: what is shown later is aligned with what was shown before, as far as the
/// columns were wide enough.
pub(crate) struct Table {
    columns: &'static [Column],
    /// The widest cell of each column so far.
    natural: Vec<usize>,
}

impl Table {
    /// A table that begins with room for what may come: all of its columns are shown, empty ones
    /// too.
    pub(crate) fn growing(columns: &'static [Column]) -> Self {
        let room = |column: &Column| column.title.len().max(column.least);
        Self {
            columns,
            natural: columns.iter().map(room).collect(),
        }
    }

    /// The whole table with its titles; columns that are empty throughout are left out.
    pub(crate) fn whole(columns: &'static [Column], rows: &[Vec<Cell>], screen: &Screen) -> String {
        let room = |(place, column): (usize, &Column)| {
            let is_empty = rows.iter().all(|row| row[place].text.is_empty());
            if is_empty { 0 } else { column.title.len() }
        };
        let mut table = Self {
            columns,
            natural: columns.iter().enumerate().map(room).collect(),
        };
        let body = table.rows(rows, screen);
        table.titles(screen) + &body
    }

    /// The line with the titles.
    pub(crate) fn titles(&self, screen: &Screen) -> String {
        let titles: Vec<Cell> = self
            .columns
            .iter()
            .map(|column| Cell::new(column.title).tone(Tone::Title))
            .collect();
        line(self.columns, &self.widths(screen.width), &titles, screen)
    }

    /// More rows, a line each.
    pub(crate) fn rows(&mut self, rows: &[Vec<Cell>], screen: &Screen) -> String {
        for row in rows {
            for (natural, cell) in self.natural.iter_mut().zip(row) {
                *natural = width(&cell.text).max(*natural);
            }
        }
        let widths = self.widths(screen.width);
        rows.iter()
            .map(|row| line(self.columns, &widths, row, screen))
            .collect()
    }

    /// How wide each column is; 0 for one that is left out. Texts are cut, the last one first, and
    /// columns are left out only where that is not enough.
    fn widths(&self, screen: Option<usize>) -> Vec<usize> {
        let mut widths = self.natural.clone();
        let Some(screen) = screen else {
            return widths;
        };
        loop {
            let excess = total(&widths).saturating_sub(screen);
            if excess == 0 {
                return widths;
            }
            let slack: usize = self.slack(&widths).iter().sum();
            if slack >= excess {
                self.shorten(&mut widths, excess);
                return widths;
            }
            let shown = (0..widths.len()).filter(|place| widths[*place] > 0);
            let last = shown.max_by_key(|place| self.columns[*place].rank);
            match last.filter(|place| self.columns[*place].rank > 0) {
                Some(place) => widths[place] = 0,
                None => {
                    self.shorten(&mut widths, slack);
                    return widths;
                }
            }
        }
    }

    /// How much each column can give away.
    fn slack(&self, widths: &[usize]) -> Vec<usize> {
        let columns = self.columns.iter().zip(widths);
        columns
            .map(|(column, width)| match column.least {
                0 => 0,
                least => width.saturating_sub(least),
            })
            .collect()
    }

    fn shorten(&self, widths: &mut [usize], mut excess: usize) {
        let slack = self.slack(widths);
        for (width, slack) in widths.iter_mut().zip(slack).rev() {
            let given = slack.min(excess);
            *width -= given;
            excess -= given;
        }
    }
}

fn total(widths: &[usize]) -> usize {
    let shown = widths.iter().filter(|width| **width > 0);
    shown
        .map(|width| width + GAP)
        .sum::<usize>()
        .saturating_sub(GAP)
}

fn line(columns: &[Column], widths: &[usize], cells: &[Cell], screen: &Screen) -> String {
    let mut out = String::new();
    let mut blank = 0;
    for ((column, width), cell) in columns.iter().zip(widths).zip(cells) {
        if *width == 0 {
            continue;
        }
        let text = match column.least {
            0 => cell.text.clone(),
            _ => cut(&cell.text, *width),
        };
        let room = width.saturating_sub(crate::text::width(&text));
        let (before, after) = match column.is_number {
            true => (room, 0),
            false => (0, room),
        };
        // Blanks are written before what follows them, so that no line ends with any.
        if !text.is_empty() {
            out.extend(std::iter::repeat_n(' ', blank + before));
            out.push_str(&screen.paint(cell.tone, &text));
            blank = after + GAP;
        } else {
            blank += width + GAP;
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COLUMNS: &[Column] = &[
        Column::words("ID", 0),
        Column::texts("MODEL", 5, 2),
        Column::numbers("N", 1),
        Column::texts("TEXT", 6, 3),
    ];

    fn screen(width: Option<usize>) -> Screen {
        Screen {
            width,
            color: false,
            now: 0.0,
        }
    }

    fn rows(rows: &[[&str; 4]]) -> Vec<Vec<Cell>> {
        let cells = |row: &[&str; 4]| row.iter().map(|text| Cell::new(*text)).collect();
        rows.iter().map(cells).collect()
    }

    #[test]
    fn a_table_fits_its_screen() {
        let rows = rows(&[
            ["id-1", "a-long-model", "7", "the quick brown fox"],
            ["id-22", "語", "1234", ""],
            ["id-3", "", "", "jumps"],
        ]);
        let shown = [
            None,
            Some(44),
            Some(36),
            Some(27),
            Some(20),
            Some(12),
            Some(4),
        ]
        .map(|width| {
            let table = Table::whole(COLUMNS, &rows, &screen(width));
            format!("{width:?}\n{table}")
        })
        .join("\n");
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn empty_columns_are_left_out_and_no_rows_leave_nothing_but_titles() {
        let rows = rows(&[["id", "", "1", ""]]);
        assert_eq!(
            Table::whole(COLUMNS, &rows, &screen(None)),
            "ID  N\nid  1\n"
        );
        let mut growing = Table::growing(COLUMNS);
        assert_eq!(growing.titles(&screen(None)), "ID  MODEL  N  TEXT\n");
        assert_eq!(growing.rows(&rows, &screen(None)), "id         1\n");
    }

    #[test]
    fn a_growing_table_keeps_its_columns() {
        let mut table = Table::growing(COLUMNS);
        let screen = screen(None);
        table.rows(&rows(&[["a", "model-1", "10", "x"]]), &screen);
        let shown = table.rows(&rows(&[["b", "m", "1", "y"]]), &screen);
        assert_eq!(shown, "b   m         1  y\n");
    }

    #[test]
    fn colours_take_no_room() {
        let screen = Screen {
            color: true,
            ..screen(Some(20))
        };
        let row = vec![
            Cell::new("a").tone(Tone::Good),
            Cell::default(),
            Cell::new("1").tone(Tone::Bad),
            Cell::new("text").tone(Tone::Plain),
        ];
        assert_eq!(
            Table::whole(COLUMNS, &[row], &screen),
            "\u{1b}[1mID\u{1b}[0m  \u{1b}[1mN\u{1b}[0m  \u{1b}[1mTEXT\u{1b}[0m\n\
             \u{1b}[32ma\u{1b}[0m   \u{1b}[31m1\u{1b}[0m  text\n"
        );
    }

    proptest! {
        #[test]
        fn no_line_is_too_long(
            cells in proptest::collection::vec(proptest::array::uniform4("[a語 ]{0,20}"), 0..5),
            columns in 6usize..60,
        ) {
            let rows: Vec<Vec<Cell>> = cells
                .iter()
                .map(|row| {
                    let mut row: Vec<Cell> = row.iter().map(|text| Cell::new(text.trim())).collect();
                    row[0] = Cell::new("id-1");
                    row
                })
                .collect();
            for line in Table::whole(COLUMNS, &rows, &screen(Some(columns))).lines() {
                prop_assert!(width(line) <= columns, "{line:?}");
                prop_assert_eq!(line.trim_end(), line);
            }
        }
    }
}
