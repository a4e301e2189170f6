//! The spinner: something moves while the agent works and nothing is printed. Only on a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Comes and goes; what is printed never meets it on a line.
pub(super) struct Spinner {
    terminal: bool,
    bar: Option<ProgressBar>,
    /// Since when there is something to wait for, over all its comings and goings.
    since: Option<Instant>,
}

impl Spinner {
    pub(super) fn new(terminal: bool) -> Self {
        Self { terminal, bar: None, since: None }
    }

    /// Takes it off the screen before something is printed.
    pub(super) fn hide(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// There is nothing to wait for.
    pub(super) fn stop(&mut self) {
        self.hide();
        self.since = None;
    }

    /// Says what is waited for.
    pub(super) fn show(&mut self, what: &str) {
        if !self.terminal {
            return;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let bar = self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{spinner:.magenta} {msg:.dim} {elapsed:.dim}")
                .expect("the template is well formed")
                .tick_strings(&["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏", " "]);
            let bar = ProgressBar::new_spinner().with_style(style).with_elapsed(since.elapsed());
            bar.enable_steady_tick(Duration::from_millis(80));
            bar
        });
        if bar.message() != what {
            bar.set_message(what.to_owned());
        }
    }
}
