//! What a bad line does to frames and bits. Random, but from a seed, so that a failure can be had
//! again.

use fastrand::Rng;

/// Faults of a line, each a probability from 0 to 1. They hit both directions alike.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Damage {
    /// That a bit is turned over.
    pub bit_error_rate: f64,
    /// That a frame is lost.
    pub drop: f64,
    /// That a frame comes twice.
    pub duplicate: f64,
}

impl Damage {
    /// How many copies of a frame arrive.
    pub(super) fn copies(&self, random: &mut Rng) -> usize {
        if hit(self.drop, random) {
            return 0;
        }
        1 + usize::from(hit(self.duplicate, random))
    }

    pub(super) fn flip_bits(&self, bytes: &mut [u8], random: &mut Rng) {
        if self.bit_error_rate <= 0.0 {
            return;
        }
        for byte in bytes {
            for bit in 0..u8::BITS {
                *byte ^= u8::from(hit(self.bit_error_rate, random)) << bit;
            }
        }
    }
}

fn hit(probability: f64, random: &mut Rng) -> bool {
    probability > 0.0 && random.f64() < probability
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_line_changes_nothing() {
        let (mut bytes, mut random) = ([0xA5; 1000], Rng::with_seed(1));
        Damage::default().flip_bits(&mut bytes, &mut random);
        assert_eq!((bytes, Damage::default().copies(&mut random)), ([0xA5; 1000], 1));
    }

    #[test]
    fn faults_come_as_often_as_asked_and_again_with_the_same_seed() {
        let damage = Damage { bit_error_rate: 0.01, drop: 0.25, duplicate: 0.0 };
        let run = || {
            let (mut bytes, mut random) = (vec![0; 12_500], Rng::with_seed(7));
            damage.flip_bits(&mut bytes, &mut random);
            let flips: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
            let lost = (0..1000).filter(|_| damage.copies(&mut random) == 0).count();
            (flips, lost)
        };
        let (flips, lost) = run();
        assert!(
            (900..1100).contains(&flips) && (200..300).contains(&lost),
            "{flips} flips, {lost} lost"
        );
        assert_eq!(run(), (flips, lost));
        assert_eq!(Damage { duplicate: 1.0, ..Damage::default() }.copies(&mut Rng::new()), 2);
    }
}
