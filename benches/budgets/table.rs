//! The table: what was measured, against which bar.

use std::fmt;

/// One line of the table.
pub(crate) struct Row {
    what: String,
    measured: String,
    bar: String,
    passed: Option<bool>,
}

impl Row {
    /// A value that must be at most `bar`.
    pub(crate) fn at_most(what: impl Into<String>, value: f64, bar: f64, unit: &str) -> Self {
        Self::judged(what, value, "<=", bar, unit, value <= bar)
    }

    /// A value that must be below `bar`.
    pub(crate) fn below(what: impl Into<String>, value: f64, bar: f64, unit: &str) -> Self {
        Self::judged(what, value, "<", bar, unit, value < bar)
    }

    /// A value that must be at least `bar`.
    pub(crate) fn at_least(what: impl Into<String>, value: f64, bar: f64, unit: &str) -> Self {
        Self::judged(what, value, ">=", bar, unit, value >= bar)
    }

    /// A value without a bar, beside which the others are understood.
    pub(crate) fn note(what: impl Into<String>, value: f64, unit: &str) -> Self {
        Self {
            what: what.into(),
            measured: format!("{} {unit}", Rounded(value)),
            bar: String::new(),
            passed: None,
        }
    }

    fn judged(
        what: impl Into<String>,
        value: f64,
        relation: &str,
        bar: f64,
        unit: &str,
        passed: bool,
    ) -> Self {
        let (what, measured) = (what.into(), format!("{} {unit}", Rounded(value)));
        Self {
            what,
            measured,
            bar: format!("{relation} {} {unit}", Short(bar)),
            passed: Some(passed),
        }
    }
}

/// A number as exact as anybody reads it.
struct Rounded(f64);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = match self.0.abs() {
            0.0..10.0 => 2,
            10.0..1000.0 => 1,
            _ => 0,
        };
        write!(f, "{:.decimals$}", self.0)
    }
}

/// A bar without needless digits.
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", (self.0 * 100.0).round() / 100.0)
    }
}

/// All lines.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

impl Table {
    pub(crate) fn extend(&mut self, rows: Vec<Row>) {
        self.rows.extend(rows);
    }

    /// Whether no bar was missed.
    pub(crate) fn is_passed(&self) -> bool {
        self.rows.iter().all(|row| row.passed != Some(false))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or_default();
        writeln!(f, "{:<width$}  {:>16}  {:>16}", "what", "measured", "bar")?;
        for Row { what, measured, bar, passed } in &self.rows {
            let verdict = match passed {
                Some(true) => "pass",
                Some(false) => "MISS",
                None => "",
            };
            writeln!(f, "{what:<width$}  {measured:>16}  {bar:>16}  {verdict}")?;
        }
        Ok(())
    }
}
