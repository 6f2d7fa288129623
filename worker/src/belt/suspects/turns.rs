//! Groups and those that run alone take turns, so that neither keeps the other waiting for ever.

use std::time::Duration;

use tokio::time::Instant;

/// For so long the groups are not filled up, so that they end and one can run alone. If one of them is longer than that, the
/// groups get another turn, and then twice the time passes until the next: a long job of one queue does not hold up the
/// suspects of the others, nor do the groups hold up who is to run alone.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Fill the groups up.
    Groups,
    /// Claim one to run alone.
    Alone,
    /// Nothing: what runs has to end first.
    Wait,
}

/// Whose turn it is.
#[derive(Debug)]
pub struct Turns {
    groups_next: bool,
    draining_since: Option<Instant>,
    patience: Duration,
}

impl Default for Turns {
    fn default() -> Self {
        Self { groups_next: false, draining_since: None, patience: PATIENCE }
    }
}

impl Turns {
    /// Decides: one runs alone, some run in groups, some wait to run alone.
    pub fn next(&mut self, alone: bool, in_groups: bool, waits_alone: bool, now: Instant) -> Next {
        if alone {
            return Next::Wait;
        }
        if !waits_alone {
            *self = Self::default();
            return Next::Groups;
        }
        if std::mem::take(&mut self.groups_next) {
            self.draining_since = Some(now);
            return Next::Groups;
        }
        if !in_groups {
            *self = Self { groups_next: true, ..Self::default() };
            return Next::Alone;
        }
        if now.duration_since(*self.draining_since.get_or_insert(now)) >= self.patience {
            self.patience *= 2;
            self.draining_since = Some(now);
            return Next::Groups;
        }
        Next::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_nobody_to_run_alone_the_groups_are_always_filled_up() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        assert_eq!(turns.next(false, false, false, now), Next::Groups);
        assert_eq!(turns.next(false, true, false, now), Next::Groups);
    }

    #[test]
    fn they_take_turns_and_alone_means_alone() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        for _ in 0..3 {
            assert_eq!(turns.next(false, true, true, now), Next::Wait, "the groups end first");
            assert_eq!(turns.next(false, false, true, now), Next::Alone);
            assert_eq!(turns.next(true, false, true, now), Next::Wait, "no group beside it");
            assert_eq!(turns.next(true, false, false, now), Next::Wait, "nor if nobody else waits");
            assert_eq!(turns.next(false, false, true, now), Next::Groups, "then it is the groups' turn");
        }
    }

    #[test]
    fn a_long_group_holds_up_no_other_group_for_ever_and_nobody_who_is_to_run_alone() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let filled: Vec<u64> = (0..400).filter(|s| turns.next(false, true, true, at(*s)) == Next::Groups).collect();
        assert_eq!(filled, [10, 30, 70, 150, 310], "less and less often");
        // So in the end any group is through before the next is let in.
        assert_eq!(turns.next(false, false, true, at(400)), Next::Alone);
        assert_eq!(turns.next(false, false, true, at(460)), Next::Groups);
        let filled: Vec<u64> = (460..475).filter(|s| turns.next(false, true, true, at(*s)) == Next::Groups).collect();
        assert_eq!(filled, [470], "patience begins anew");
    }
}
