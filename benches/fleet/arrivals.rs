//! When devices came, and what that comes to: the busiest window against the mean of a spread.

/// A request that reached the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// Milliseconds by the kernel's monotonic clock.
    pub(crate) at: u64,
    /// Number of the device.
    pub(crate) device: usize,
    /// Whether it had its answer.
    pub(crate) answered: bool,
}

/// What a time after a start or a restart comes to.
#[derive(Debug)]
pub(crate) struct Return {
    /// Requests of the busiest window, of as many as a spread has there in the mean.
    pub(crate) peak: f64,
    /// Spreads until 95 % of the devices had an answer; none where they never had.
    pub(crate) most: Option<f64>,
    /// Devices that had an answer.
    pub(crate) back: usize,
    /// All requests.
    pub(crate) requests: usize,
}

/// From `from` on until `to`, in milliseconds, in windows of `window`.
pub(crate) fn count(
    arrivals: &[Arrival],
    devices: usize,
    spread: u64,
    window: u64,
    (from, to): (u64, u64),
) -> Return {
    let within: Vec<Arrival> =
        arrivals.iter().copied().filter(|one| (from..to).contains(&one.at)).collect();
    let mut windows = vec![0_u32; ((to - from) / window + 1) as usize];
    let mut first: Vec<Option<u64>> = vec![None; devices];
    for Arrival { at, device, answered } in &within {
        windows[((at - from) / window) as usize] += 1;
        if let Some(first) = first.get_mut(*device)
            && *answered
        {
            *first = Some(first.map_or(*at, |known| known.min(*at)));
        }
    }
    let mut back: Vec<u64> = first.into_iter().flatten().collect();
    back.sort_unstable();
    let mean = devices as f64 * window as f64 / spread as f64;
    let most = back.get((devices * 95).div_ceil(100).saturating_sub(1));
    Return {
        peak: f64::from(windows.into_iter().max().unwrap_or_default()) / mean,
        most: most.map(|at| (at - from) as f64 / spread as f64),
        back: back.len(),
        requests: within.len(),
    }
}
