//! Who may come in: accounts, and what repeated wrong passwords cost. Pure; the time is handed in.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// Wrong passwords after which a session is closed and its address locked out.
pub(crate) const FREE_ATTEMPTS: u32 = 3;
/// Delay of the answer to the first wrong password; each further one doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(200);
/// First lock-out of an address; each further wrong password doubles it.
const FIRST_LOCK_OUT: Duration = Duration::from_secs(2);
/// The longest lock-out: an aircraft may hide every host behind one address, so it must not last.
const LONGEST_LOCK_OUT: Duration = Duration::from_secs(60);
/// An address that has been quiet for this long starts afresh.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// Addresses that are remembered at a time; the one that matters least makes room.
const REMEMBERED: usize = 64;

/// The accounts, all with one password.
#[derive(Debug)]
pub(crate) struct Accounts {
    users: Vec<[u8; 32]>,
    password: [u8; 32],
}

impl Accounts {
    pub(crate) fn new(users: &BTreeSet<String>, password: &str) -> Self {
        Self { users: users.iter().map(|user| digest(user)).collect(), password: digest(password) }
    }

    /// Whether name and password are right, in a time that depends on neither.
    pub(crate) fn accept(&self, user: &str, password: &str) -> bool {
        let user = digest(user);
        let known =
            self.users.iter().fold(false, |known, candidate| known | same(candidate, &user));
        known & same(&self.password, &digest(password))
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Compares digests, not texts, so that neither length nor first difference shows in the time.
fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    std::hint::black_box(one.iter().zip(other).fold(0, |difference, (a, b)| difference | (a ^ b)))
        == 0
}

/// Wrong passwords by address. Whom a lock-out does not concern is for the session to know.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    addresses: HashMap<IpAddr, Attempts>,
}

#[derive(Debug, Clone, Copy)]
struct Attempts {
    wrong: u32,
    last: Instant,
    locked_until: Instant,
}

impl Throttle {
    /// How long the address has still to wait, if it is locked out.
    pub(crate) fn locked_out(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let attempts = self.addresses.get(&network(address))?;
        attempts.locked_until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// Notes a wrong password; its answer is to be delayed by what this returns.
    pub(crate) fn wrong(&mut self, address: IpAddr, now: Instant) -> Duration {
        self.make_room(now);
        let attempts = self.addresses.entry(network(address)).or_insert(Attempts {
            wrong: 0,
            last: now,
            locked_until: now,
        });
        attempts.wrong = attempts.wrong.saturating_add(1);
        attempts.last = now;
        if let Some(beyond) = attempts.wrong.checked_sub(FREE_ATTEMPTS) {
            attempts.locked_until = now + doubled(FIRST_LOCK_OUT, beyond).min(LONGEST_LOCK_OUT);
        }
        doubled(FIRST_DELAY, (attempts.wrong - 1).min(FREE_ATTEMPTS))
    }

    /// Forgets an address that knew the password.
    pub(crate) fn right(&mut self, address: IpAddr) {
        self.addresses.remove(&network(address));
    }

    fn make_room(&mut self, now: Instant) {
        self.addresses
            .retain(|_, attempts| now.saturating_duration_since(attempts.last) < FORGOTTEN_AFTER);
        if self.addresses.len() < REMEMBERED {
            return;
        }
        let least = self
            .addresses
            .iter()
            .min_by_key(|(_, attempts)| (attempts.locked_until, attempts.last))
            .map(|(address, _)| *address);
        if let Some(address) = least {
            self.addresses.remove(&address);
        }
    }
}

fn doubled(duration: Duration, times: u32) -> Duration {
    duration.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
}

/// A host owns a whole /64 of IPv6, so that is what counts as one address.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn a_known_name_and_the_password_are_both_needed() {
        let accounts = Accounts::new(&["one".to_owned(), "two".to_owned()].into(), "secret");
        assert!(accounts.accept("one", "secret") && accounts.accept("two", "secret"));
        for (user, password) in [
            ("one", ""),
            ("one", "secret "),
            ("three", "secret"),
            ("", "secret"),
            ("one", "Secret"),
        ] {
            assert!(!accounts.accept(user, password), "{user} {password}");
        }
    }

    /// So many that the differences of some digests cancel each other out, for a comparison that
    /// would let them.
    #[test]
    fn none_of_a_thousand_wrong_passwords_is_accepted() {
        let accounts = Accounts::new(&["one".to_owned()].into(), "secret");
        for number in 0..1000 {
            assert!(!accounts.accept("one", &format!("wrong {number}")), "{number}");
        }
    }

    #[test]
    fn delays_grow_and_the_third_wrong_password_locks_out_for_a_growing_time() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        assert_eq!(throttle.wrong(ADDRESS, start), Duration::from_millis(200));
        assert_eq!(throttle.wrong(ADDRESS, start), Duration::from_millis(400));
        assert_eq!(throttle.locked_out(ADDRESS, start), None);
        assert_eq!(throttle.wrong(ADDRESS, start), Duration::from_millis(800));
        assert_eq!(throttle.locked_out(ADDRESS, start), Some(Duration::from_secs(2)));
        assert_eq!(throttle.locked_out(ADDRESS, start + Duration::from_secs(2)), None);
        assert_eq!(throttle.locked_out(OTHER, start), None);
        throttle.wrong(ADDRESS, start + Duration::from_secs(2));
        assert_eq!(
            throttle.locked_out(ADDRESS, start + Duration::from_secs(2)),
            Some(Duration::from_secs(4))
        );
        for _ in 0..100 {
            assert!(throttle.wrong(ADDRESS, start) <= Duration::from_secs(2));
        }
        assert_eq!(throttle.locked_out(ADDRESS, start), Some(LONGEST_LOCK_OUT));
    }

    #[test]
    fn the_right_password_and_a_long_time_are_forgiveness() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for _ in 0..5 {
            throttle.wrong(ADDRESS, start);
            throttle.wrong(OTHER, start);
        }
        throttle.right(ADDRESS);
        assert_eq!(throttle.locked_out(ADDRESS, start), None);
        assert_eq!(throttle.wrong(OTHER, start + FORGOTTEN_AFTER), FIRST_DELAY);
    }

    #[test]
    fn the_memory_is_bounded_and_a_locked_address_stays_in_it() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for _ in 0..10 {
            throttle.wrong(ADDRESS, start);
        }
        for host in 0..100_000_u32 {
            throttle.wrong(IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0000 + host)), start);
        }
        assert!(throttle.addresses.len() <= REMEMBERED);
        assert!(throttle.locked_out(ADDRESS, start).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for host in ["2001:db8::1", "2001:db8::2", "2001:db8::3"] {
            throttle.wrong(host.parse().unwrap(), start);
        }
        assert!(throttle.locked_out("2001:db8::9".parse().unwrap(), start).is_some());
        assert!(throttle.locked_out("2001:db8:0:1::9".parse().unwrap(), start).is_none());
    }
}
