//! Free space that uploads side by side have taken for themselves but not filled yet. Pure; the
//! free space is handed in.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::AreaError;

/// Bytes that an upload takes at most before it looks at the free space again.
const LARGEST_SHARE: u64 = 8 << 20;

/// What all uploads together may still write before they look again.
///
/// A lock and no atomic number: another upload that wrote and took between a look at the free space
/// and what is taken on its strength would leave the number as it was, and the space smaller.
#[derive(Debug, Default, Clone)]
pub(super) struct Taken(Arc<Mutex<u64>>);

impl Taken {
    fn lock(&self) -> MutexGuard<'_, u64> {
        // A plain number: a panic elsewhere leaves nothing half-done in it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `bytes` fit beside what is taken into the `space` that may be filled now.
    pub(super) fn leaves(
        &self,
        bytes: u64,
        space: impl FnOnce() -> Result<u64, AreaError>,
    ) -> Result<(), AreaError> {
        let taken = self.lock();
        if space()?.saturating_sub(*taken) < bytes { Err(AreaError::NoSpace) } else { Ok(()) }
    }

    /// A share of nothing, for a new upload.
    pub(super) fn share(&self) -> Share {
        Share { taken: self.clone(), left: 0 }
    }
}

/// What one upload may still write. Dropped, it is given back.
#[derive(Debug)]
pub(super) struct Share {
    taken: Taken,
    left: u64,
}

impl Share {
    /// Makes sure that `bytes` may be written, out of the `space` that may be filled now; `most` is
    /// what the upload can still want.
    pub(super) fn provide(
        &mut self,
        bytes: u64,
        most: u64,
        space: impl FnOnce() -> Result<u64, AreaError>,
    ) -> Result<(), AreaError> {
        if bytes <= self.left {
            return Ok(());
        }
        let mut taken = self.taken.lock();
        let free = space()?.saturating_sub(*taken - self.left);
        if free < bytes {
            return Err(AreaError::NoSpace);
        }
        // Half of little space, so that uploads side by side can fill it up.
        let share = (free / 2).min(LARGEST_SHARE).min(most).max(bytes);
        *taken = *taken - self.left + share;
        self.left = share;
        Ok(())
    }

    /// So much of it is written: it is missing from the free space from now on.
    pub(super) fn spend(&mut self, bytes: u64) {
        let spent = bytes.min(self.left);
        self.left -= spent;
        *self.taken.lock() -= spent;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.spend(self.left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn space(bytes: u64) -> impl FnOnce() -> Result<u64, AreaError> {
        move || Ok(bytes)
    }

    #[test]
    fn what_one_upload_took_the_others_do_not_have() {
        let taken = Taken::default();
        let (mut one, mut other) = (taken.share(), taken.share());
        one.provide(1, 100 * MIB, space(20 * MIB)).unwrap();
        assert_eq!(one.left, LARGEST_SHARE);
        assert!(
            taken.leaves(12 * MIB, space(20 * MIB)).is_ok()
                && taken.leaves(12 * MIB + 1, space(20 * MIB)).is_err()
        );
        assert!(matches!(
            other.provide(13 * MIB, 100 * MIB, space(20 * MIB)),
            Err(AreaError::NoSpace)
        ));
        drop(one);
        other.provide(13 * MIB, 100 * MIB, space(20 * MIB)).unwrap();
        drop(other);
        assert_eq!(*taken.lock(), 0);
    }

    #[test]
    fn who_needs_more_than_its_share_has_that_instead_of_it() {
        let taken = Taken::default();
        let mut share = taken.share();
        share.provide(1, 100 * MIB, space(20 * MIB)).unwrap();
        share.provide(12 * MIB, 100 * MIB, space(20 * MIB)).unwrap();
        assert_eq!(*taken.lock(), 12 * MIB);
    }

    #[test]
    fn little_space_is_shared_to_its_last_byte() {
        let (taken, mut free) = (Taken::default(), 1000);
        let mut shares = [taken.share(), taken.share(), taken.share()];
        let mut write = |share: &mut Share| {
            let provided = share.provide(1, MIB, space(free)).is_ok();
            if provided {
                share.spend(1);
                free -= 1;
            }
            provided
        };
        while shares.iter_mut().map(&mut write).filter(|written| *written).count() > 0 {}
        assert_eq!((free, *taken.lock()), (0, 0));
    }

    #[test]
    fn nothing_is_taken_that_can_not_be_wanted() {
        let taken = Taken::default();
        taken.share().provide(1, 10, space(MIB)).unwrap();
        let mut share = taken.share();
        share.provide(1, 10, space(MIB)).unwrap();
        assert_eq!(*taken.lock(), 10);
    }
}
