//! Median, smallest and largest of some runs.

pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) p99: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |thousandth: usize| values[(values.len() * thousandth).div_ceil(1000).saturating_sub(1)];
        Self { median: at(500), p99: at(990), min: values[0], max: values[values.len() - 1] }
    }
}
