//! Medians, spreads and ratios, as a Markdown table and as plots.

use crate::{Bench, View};
use anyhow::{Result, anyhow};
use plotters::prelude::*;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Measures with the same columns.
pub struct Table {
    /// Its heading.
    pub title: &'static str,
    /// Who was measured.
    pub columns: Vec<String>,
    /// What was measured.
    pub rows: Vec<Row>,
}

/// One measure.
pub struct Row {
    name: String,
    unit: &'static str,
    /// The samples of each column; empty where it could not be measured.
    series: Vec<Vec<f64>>,
    more_is_better: bool,
}

impl Table {
    /// A table with a column for each runtime.
    pub fn of_runtimes(title: &'static str, bench: &Bench) -> Table {
        Table {
            title,
            columns: bench.runtimes.iter().map(|runtime| runtime.name.clone()).collect(),
            rows: Vec::new(),
        }
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }
}

impl Row {
    /// A measure of which less is better.
    pub fn new(name: impl Into<String>, unit: &'static str, series: Vec<Vec<f64>>) -> Row {
        Row { name: name.into(), unit, series, more_is_better: false }
    }

    /// A measure of which more is better.
    pub fn more_is_better(self) -> Row {
        Row { more_is_better: true, ..self }
    }

    /// The quartiles of a column.
    fn quartiles(&self, column: usize) -> Option<[f64; 3]> {
        let mut samples = self.series.get(column)?.clone();
        samples.sort_by(f64::total_cmp);
        let last = samples.len().checked_sub(1)?;
        Some([1, 2, 3].map(|quarter| samples[(last * quarter + 2) / 4]))
    }

    fn median(&self, column: usize) -> Option<f64> {
        self.quartiles(column).map(|[_, median, _]| median)
    }

    /// How many times worse `one` is than `other`; of two that have nearly none of it there is nothing to say.
    fn ratio(&self, one: usize, other: usize) -> Option<f64> {
        let (one, other) = (self.median(one)?, self.median(other)?);
        let ratio = if self.more_is_better { other / one } else { one / other };
        Some(ratio).filter(|ratio| ratio.is_finite() && one.min(other) >= 0.005)
    }
}

/// The whole run.
pub struct Report {
    heading: String,
    name: String,
    tables: Vec<Table>,
}

impl Report {
    /// Takes what was measured, with the versions and the host it was measured on.
    pub fn new(bench: &Bench, view: View, tables: Vec<Table>) -> Report {
        let said = |command: &mut Command| {
            let output =
                command.output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
            output.unwrap_or_default()
        };
        let kernel = said(Command::new("uname").arg("-r"));
        let date = said(Command::new("date").args(["-u", "+%F"]));
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        let quick = if bench.quick { " It was a quick one, with few turns." } else { "" };
        let mut heading = format!(
            "# Speed, cgroup {}\n\nWritten by `make bench` on {date}, kernel {kernel}, {processors} processors. Medians, with the \
             quartiles in brackets; all took turns in one run.{quick}\n\n",
            view.name()
        );
        for runtime in &bench.runtimes {
            let _ = writeln!(heading, "- {}: {}", runtime.name, runtime.version);
        }
        Report {
            heading,
            name: view.name().to_owned(),
            tables: tables.into_iter().filter(|table| !table.rows.is_empty()).collect(),
        }
    }

    /// The report as text.
    pub fn markdown(&self) -> String {
        let mut text = self.heading.clone();
        for table in &self.tables {
            let _ = write!(text, "\n## {}\n\n| |", table.title);
            for column in &table.columns {
                let _ = write!(text, " {column} |");
            }
            let ratios: Vec<(&str, usize, usize)> = [
                ("orlop", "floor"),
                ("orlop", "outside"),
                ("crun", "orlop"),
                ("runc", "orlop"),
                ("youki", "orlop"),
            ]
            .into_iter()
            .filter_map(|(one, other)| Some((one, table.column(one)?, table.column(other)?)))
            .collect();
            for (_, one, other) in &ratios {
                let _ = write!(text, " {} : {} |", table.columns[*one], table.columns[*other]);
            }
            let _ = writeln!(text, "\n|---|{}", "--:|".repeat(table.columns.len() + ratios.len()));
            for row in &table.rows {
                let unit = if row.unit.is_empty() { String::new() } else { format!(", {}", row.unit) };
                let _ = write!(text, "| {}{unit} |", row.name);
                for column in 0..table.columns.len() {
                    match (row.quartiles(column), row.series[column].len()) {
                        (None, _) => text.push_str(" |"),
                        (Some([_, median, _]), 1) => {
                            let _ = write!(text, " {} |", number(median));
                        }
                        (Some([low, median, high]), _) => {
                            let _ = write!(text, " {} ({}..{}) |", number(median), number(low), number(high));
                        }
                    }
                }
                for (_, one, other) in &ratios {
                    match row.ratio(*one, *other) {
                        Some(ratio) => {
                            let _ = write!(text, " {ratio:.2} |");
                        }
                        None => text.push_str(" |"),
                    }
                }
                text.push('\n');
            }
        }
        text
    }

    /// Writes the report and a plot of each table into `dir`.
    pub fn write(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir)?;
        let mut text = self.markdown();
        for (number, table) in self.tables.iter().enumerate() {
            let file = format!("{}-{number}.svg", self.name);
            plot(&dir.join(&file), table)?;
            let _ = write!(text, "\n![{}]({file})\n", table.title);
        }
        fs::write(dir.join(format!("{}.md", self.name)), text)?;
        Ok(())
    }
}

fn number(value: f64) -> String {
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}

/// Bars of how many times worse than orlop each column is, row by row.
fn plot(path: &Path, table: &Table) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| anyhow!("draw {}: {error}", path.display());
    let Some(own) = table.column("orlop") else { return Ok(()) };
    let rows: Vec<&Row> = table.rows.iter().filter(|row| !row.name.contains(": ")).collect();
    let columns = table.columns.len();
    let highest = rows.iter().flat_map(|row| (0..columns).filter_map(|column| row.ratio(column, own)));
    let highest = highest.fold(1.0_f64, f64::max) * 1.1;
    let height = u32::try_from(rows.len() * (columns * 16 + 14) + 80)?;
    let area = SVGBackend::new(path, (900, height)).into_drawing_area();
    area.fill(&WHITE).map_err(|error| failed(&error))?;
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("{}: times orlop", table.title), ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(30)
        .build_cartesian_2d(0.0..highest, 0.0..(rows.len() * (columns + 1)) as f64)
        .map_err(|error| failed(&error))?;
    chart.configure_mesh().disable_y_axis().disable_y_mesh().draw().map_err(|error| failed(&error))?;
    let total = (rows.len() * (columns + 1)) as f64;
    for (index, row) in rows.iter().enumerate() {
        let top = total - (index * (columns + 1)) as f64;
        let title = Text::new(
            row.name.clone(),
            (0.0, top - 0.1),
            ("sans-serif", 13).into_font().style(FontStyle::Bold),
        );
        chart.draw_series([title]).map_err(|error| failed(&error))?;
        for column in 0..columns {
            let Some(ratio) = row.ratio(column, own) else { continue };
            let low = top - column as f64 - 2.0;
            let color = Palette99::pick(column).mix(0.7);
            let bar = Rectangle::new([(0.0, low + 0.1), (ratio, low + 0.9)], color.filled());
            chart.draw_series([bar]).map_err(|error| failed(&error))?;
            let label = format!("{} {ratio:.1}", table.columns[column]);
            let label = Text::new(label, (ratio.min(highest * 0.85), low + 0.85), ("sans-serif", 12));
            chart.draw_series([label]).map_err(|error| failed(&error))?;
        }
    }
    area.present().map_err(|error| failed(&error))
}
