//! An alarm of the kernel's, for what recurs while a process is idle: one wake-up a deadline.
//!
//! The runtime's own timers lie in a wheel of six levels and wake the thread once for each level on
//! the way down, two or three times a deadline. That is nothing while there is work, and most of
//! all wake-ups while there is none.

use std::io;
use std::os::fd::AsFd as _;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::net::unix::pipe;
use tokio::time::{Duration, Instant, sleep_until};

/// One alarm for one deadline at a time.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    timer: Option<Timer>,
    set_to: Option<Instant>,
}

#[derive(Debug)]
struct Timer {
    timer: TimerFd,
    /// The same timer. The runtime's only door for a plain descriptor that needs no `unsafe`;
    /// reading is all that is done with it.
    rings: pipe::Receiver,
}

impl Alarm {
    /// Resolves at `deadline`. Dropped and called again, it loses nothing, and costs nothing if the
    /// deadline is the same.
    pub(crate) async fn until(&mut self, deadline: Instant) {
        if self.ring_at(deadline).await.is_err() {
            // No descriptors left, most likely: the wheel will do.
            sleep_until(deadline).await;
        }
    }

    async fn ring_at(&mut self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let timer = match &self.timer {
            Some(timer) => timer,
            None => self.timer.insert(Timer::new()?),
        };
        if self.set_to != Some(deadline) {
            timer.set(left)?;
            self.set_to = Some(deadline);
        }
        timer.rung().await?;
        self.set_to = None;
        Ok(())
    }
}

impl Timer {
    fn new() -> io::Result<Self> {
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK,
        )?;
        let rings = pipe::Receiver::from_owned_fd_unchecked(timer.as_fd().try_clone_to_owned()?)?;
        Ok(Self { timer, rings })
    }

    /// Sets it anew; an earlier time that nobody heard is forgotten.
    fn set(&self, left: Duration) -> io::Result<()> {
        Ok(self
            .timer
            .set(Expiration::OneShot(TimeSpec::from_duration(left)), TimerSetTimeFlags::empty())?)
    }

    async fn rung(&self) -> io::Result<()> {
        let mut count = [0; 8];
        loop {
            self.rings.readable().await?;
            match self.rings.try_read(&mut count) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(5);

    /// Begins to wait, and gives up at once. On a machine that is busy it may have rung by then,
    /// which is no fault.
    async fn given_up(wait: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = wait => {}
            () = std::future::ready(()) => {}
        }
    }

    #[tokio::test]
    async fn it_rings_at_each_deadline_and_not_before() {
        let mut alarm = Alarm::default();
        for _ in 0..3 {
            let deadline = Instant::now() + SHORT;
            alarm.until(deadline).await;
            assert!(Instant::now() >= deadline);
        }
    }

    #[tokio::test]
    async fn a_deadline_that_has_passed_is_not_waited_for() {
        Alarm::default().until(Instant::now()).await;
    }

    #[tokio::test]
    async fn what_is_given_up_and_asked_for_again_still_rings() {
        let mut alarm = Alarm::default();
        let deadline = Instant::now() + SHORT;
        given_up(alarm.until(deadline)).await;
        std::thread::sleep(SHORT);
        alarm.until(deadline).await;
    }

    #[tokio::test]
    async fn an_earlier_deadline_that_rang_unheard_does_not_ring_for_a_later_one() {
        let mut alarm = Alarm::default();
        let (early, late) = (Instant::now() + SHORT, Instant::now() + 4 * SHORT);
        given_up(alarm.until(early)).await;
        sleep_until(early + SHORT).await;
        alarm.until(late).await;
        assert!(Instant::now() >= late);
    }
}
