//! The table at the end: the median of each figure over the sittings, server beside floor.

use std::io::Write;

use crate::report::{Report, number};

/// The runs of one case.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// Of the bare thing that it is compared with.
    pub(crate) floor: Vec<Report>,
    /// Of the server.
    pub(crate) server: Vec<Report>,
}

/// One figure of a case.
pub(crate) struct Column {
    pub(crate) label: &'static str,
    pub(crate) figure: &'static str,
    /// Whether server over floor means something.
    pub(crate) ratio: bool,
    /// What the project wants.
    pub(crate) aim: &'static str,
}

/// A case with its runs.
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) columns: &'a [Column],
    pub(crate) row: &'a Row,
}

/// Prints one line per figure, the two servers beside each other under these names.
pub(crate) fn print<'a>(
    out: &mut impl Write,
    [floor, server]: [&str; 2],
    lines: impl IntoIterator<Item = Line<'a>>,
) -> std::io::Result<()> {
    writeln!(out, "\n| {:<47} | {floor:>20} | {server:>20} | {:>5} | {:<16} |", "", "ratio", "aim")?;
    writeln!(out, "|:{:-<47}-|-{:-<20}:|-{:-<20}:|-{:-<5}:|:{:-<16}-|", "", "", "", "", "")?;
    for Line { name, columns, row } in lines {
        for column in columns {
            let floor = Spread::of(&row.floor, column.figure);
            let server = Spread::of(&row.server, column.figure);
            let ratio = match (&floor, &server) {
                (Some(floor), Some(server)) if column.ratio && floor.median > 0.0 => {
                    number(server.median / floor.median)
                }
                _ => String::new(),
            };
            writeln!(
                out,
                "| {:<47} | {:>20} | {:>20} | {ratio:>5} | {:<16} |",
                format!("{name}, {}", column.label),
                floor.map_or_else(String::new, |spread| spread.to_string()),
                server.map_or_else(String::new, |spread| spread.to_string()),
                column.aim,
            )?;
        }
    }
    Ok(())
}

/// Median and range of a figure over the sittings.
#[derive(Debug, PartialEq)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(reports: &[Report], figure: &str) -> Option<Self> {
        let mut values: Vec<f64> = reports.iter().filter_map(|report| report.figure(figure)).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let median = if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], upper) } else { upper };
        Some(Self { median, least: values[0], most: values[values.len() - 1] })
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.least == self.most {
            return f.write_str(&number(self.median));
        }
        write!(f, "{} ({}-{})", number(self.median), number(self.least), number(self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_sittings_counts() {
        let reports: Vec<Report> = [3.0, 1.0, 2.0]
            .into_iter()
            .map(|value| {
                let mut report = Report::new(String::new());
                report.add("x", value, "");
                report
            })
            .collect();
        let spread = |n: usize| Spread::of(&reports[..n], "x").map(|spread| spread.to_string());
        assert_eq!(spread(3).as_deref(), Some("2.00 (1.00-3.00)"));
        assert_eq!(spread(2).as_deref(), Some("2.00 (1.00-3.00)"));
        assert_eq!(spread(1).as_deref(), Some("3.00"));
        assert_eq!(spread(0), None);
        assert_eq!(Spread::of(&reports, "y"), None);
    }
}
