//! The window: for how long one start of the unit has run the new program, and how many starts
//! there were. Pure; the time is handed in.

use std::time::Duration;

use tokio::time::Instant;

use crate::host::unit::Unit;

/// One start of the unit: as long as both are the same, it has not restarted.
type Start = (Option<String>, Option<u32>);

/// The window of one trial.
#[derive(Debug, Default)]
pub(super) struct Window {
    since: Option<(Start, Instant)>,
    last: Option<Unit>,
    by_counter: u32,
    by_invocation: u32,
}

impl Window {
    /// Counts the restarts since the last look, however the unit is doing.
    pub(super) fn count(&mut self, unit: &Unit) {
        if let Some(last) = &self.last {
            // Between two looks there can be several, which only systemd's counter tells; a restart
            // by somebody else resets the counter, and only the invocation tells.
            self.by_counter =
                self.by_counter.saturating_add(unit.restarts.saturating_sub(last.restarts));
            let is_other = unit.invocation.is_some()
                && last.invocation.is_some()
                && unit.invocation != last.invocation;
            self.by_invocation = self.by_invocation.saturating_add(u32::from(is_other));
        }
        self.last = Some(unit.clone());
    }

    /// The unit's own name, as systemd told it at the last look.
    pub(super) fn unit_name(&self) -> Option<&str> {
        self.last.as_ref()?.id.as_deref()
    }

    /// Restarts so far.
    pub(super) fn restarts(&self) -> u32 {
        self.by_counter.max(self.by_invocation)
    }

    /// Whether this start of the unit, which runs the new program, is another one than that of the
    /// last time; then the window begins anew.
    pub(super) fn begins_with(&mut self, unit: &Unit, now: Instant) -> bool {
        let start = (unit.invocation.clone(), unit.main_pid);
        let is_new = self.since.as_ref().is_none_or(|(since, _)| *since != start);
        if is_new {
            self.since = Some((start, now));
        }
        is_new
    }

    /// For how long the start that was seen last has run the new program.
    pub(super) fn stable(&self, now: Instant) -> Duration {
        self.since
            .as_ref()
            .map_or(Duration::ZERO, |(_, since)| now.saturating_duration_since(*since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(invocation: &str, restarts: u32) -> Unit {
        Unit {
            invocation: Some(invocation.into()),
            restarts,
            main_pid: Some(1),
            active_state: "active".into(),
            ..Unit::default()
        }
    }

    #[test]
    fn each_restart_begins_the_window_anew_and_is_counted() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut window = Window::default();
        for (second, seen, is_new, stable, restarts) in [
            (1, unit("a", 7), true, 0, 0), // what was before the trial does not count
            (9, unit("a", 7), false, 8, 0),
            (10, unit("b", 8), true, 0, 1),
            (12, unit("c", 11), true, 0, 4), // two were too fast to be seen
            (30, unit("c", 11), false, 18, 4),
        ] {
            window.count(&seen);
            assert_eq!(window.begins_with(&seen, at(second)), is_new, "{second}");
            assert_eq!(
                (window.stable(at(second)).as_secs(), window.restarts()),
                (stable, restarts),
                "{second}"
            );
        }
    }

    #[test]
    fn a_restart_that_is_under_way_and_then_done_is_one() {
        let mut window = Window::default();
        let waiting = Unit { active_state: "activating".into(), main_pid: None, ..unit("a", 1) };
        for seen in [unit("a", 0), waiting, unit("b", 1)] {
            window.count(&seen);
        }
        assert_eq!(window.restarts(), 1);
    }

    #[test]
    fn a_restart_by_somebody_else_resets_the_counter_and_is_one_too() {
        let mut window = Window::default();
        for seen in [unit("a", 5), unit("b", 0)] {
            window.count(&seen);
        }
        assert_eq!(window.restarts(), 1);
    }

    #[test]
    fn an_invocation_that_systemd_does_not_tell_is_none_of_another_start() {
        let mut window = Window::default();
        for seen in [unit("a", 0), Unit { invocation: None, ..unit("a", 0) }, unit("a", 0)] {
            window.count(&seen);
        }
        assert_eq!(window.restarts(), 0);
    }

    #[test]
    fn another_process_in_the_same_invocation_begins_the_window_anew() {
        let mut window = Window::default();
        let now = Instant::now();
        assert!(window.begins_with(&unit("a", 0), now));
        assert!(window.begins_with(&Unit { main_pid: Some(2), ..unit("a", 0) }, now));
        assert_eq!(window.restarts(), 0);
    }
}
