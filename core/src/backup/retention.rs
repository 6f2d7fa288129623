//! Which backups are kept: the last of each of the newest days, weeks and months that have one. Pure: nothing is read or removed.

use std::collections::BTreeSet;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, Utc};

use crate::ids::BackupId;

/// How many are kept, as `7d,5w,12m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Days with a backup of which the last is kept.
    pub daily: usize,
    /// Weeks (Monday to Sunday, UTC).
    pub weekly: usize,
    /// Months.
    pub monthly: usize,
}

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "must be as 7d,5w,12m: days, weeks and months, 1 day at least".to_owned();
        let mut keep = Self { daily: 0, weekly: 0, monthly: 0 };
        for word in text.split(',').map(str::trim) {
            let (count, unit) = word.split_at_checked(word.len().saturating_sub(1)).ok_or_else(wrong)?;
            let count = count.parse().ok().filter(|count| *count <= 10_000).ok_or_else(wrong)?;
            match unit {
                "d" => keep.daily = count,
                "w" => keep.weekly = count,
                "m" => keep.monthly = count,
                _ => return Err(wrong()),
            }
        }
        if keep.daily == 0 { Err(wrong()) } else { Ok(keep) }
    }
}

/// A backup, as far as keeping it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Which.
    pub id: BackupId,
    /// The state that it holds.
    pub at: DateTime<Utc>,
    /// It was read back whole, or restored.
    pub proven: bool,
}

/// Year, and the number of the period in it.
type PeriodOf = fn(NaiveDate) -> (i32, u32);

/// Those that are to be removed, in the order given. The newest proven one is never among them, however old it is; and where
/// none is proven, the newest is not.
pub fn to_remove(all: &[Kept], keep: Keep) -> Vec<BackupId> {
    let mut newest_first: Vec<&Kept> = all.iter().collect();
    newest_first.sort_by_key(|backup| std::cmp::Reverse((backup.at, backup.id)));
    let mut kept = BTreeSet::new();
    kept.extend(newest_first.iter().find(|backup| backup.proven).or(newest_first.first()).map(|backup| backup.id));
    let periods: [(usize, PeriodOf); 3] = [
        (keep.daily, |day| (day.year(), day.ordinal())),
        (keep.weekly, |day| (day.iso_week().year(), day.iso_week().week())),
        (keep.monthly, |day| (day.year(), day.month())),
    ];
    for (count, period_of) in periods {
        let mut last = None;
        let mut used = 0;
        for backup in &newest_first {
            let period = Some(period_of(backup.at.date_naive()));
            if used < count && period != last {
                kept.insert(backup.id);
                last = period;
                used += 1;
            }
        }
    }
    all.iter().map(|backup| backup.id).filter(|id| !kept.contains(id)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn backups(hours: &[(u32, bool)]) -> Vec<Kept> {
        let start: DateTime<Utc> = "2024-12-20T00:00:00Z".parse().expect("a time");
        hours
            .iter()
            .enumerate()
            .map(|(number, (hour, proven))| Kept {
                id: BackupId(Uuid::from_u128(number as u128)),
                at: start + chrono::TimeDelta::hours(i64::from(*hour)),
                proven: *proven,
            })
            .collect()
    }

    /// Said another way: a backup is the last of its period, and fewer than `count` later periods have one.
    fn is_kept_by(all: &[Kept], one: &Kept, count: usize, period_of: impl Fn(NaiveDate) -> String) -> bool {
        let mut last_of = BTreeMap::new();
        for backup in all {
            let last = last_of.entry(period_of(backup.at.date_naive())).or_insert(*backup);
            if (backup.at, backup.id) > (last.at, last.id) {
                *last = *backup;
            }
        }
        let mine = period_of(one.at.date_naive());
        last_of[&mine].id == one.id && last_of.values().filter(|other| other.at > last_of[&mine].at).count() < count
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_the_rule_says(
            hours in prop::collection::vec((0..20_000_u32, any::<bool>()), 0..120),
            daily in 1..10_usize, weekly in 0..10_usize, monthly in 0..10_usize,
        ) {
            let all = backups(&hours);
            let keep = Keep { daily, weekly, monthly };
            let removed = to_remove(&all, keep);
            let newest_proven = all.iter().filter(|b| b.proven).max_by_key(|b| (b.at, b.id));
            let anchor = newest_proven.or(all.iter().max_by_key(|b| (b.at, b.id))).map(|b| b.id);
            for backup in &all {
                let ruled = is_kept_by(&all, backup, daily, |day| day.to_string())
                    || is_kept_by(&all, backup, weekly, |day| day.format("%G-%V").to_string())
                    || is_kept_by(&all, backup, monthly, |day| day.format("%Y-%m").to_string());
                prop_assert_eq!(removed.contains(&backup.id), !ruled && anchor != Some(backup.id));
            }
            let rest: Vec<Kept> = all.iter().filter(|b| !removed.contains(&b.id)).copied().collect();
            prop_assert_eq!(to_remove(&rest, keep), vec![], "what was kept stays kept");
            let more = Keep { daily: daily + 1, weekly: weekly + 1, monthly: monthly + 2 };
            for id in to_remove(&all, more) {
                prop_assert!(removed.contains(&id), "a rule that keeps more removes nothing else");
            }
            let mut other_way = all.clone();
            other_way.reverse();
            let other_way: BTreeSet<BackupId> = to_remove(&other_way, keep).into_iter().collect();
            prop_assert_eq!(other_way, removed.iter().copied().collect::<BTreeSet<_>>(), "in whatever order they come");
        }

        #[test]
        fn one_more_backup_never_brings_a_removed_one_back_nor_the_proven_one_down(
            hours in prop::collection::vec((0..20_000_u32, any::<bool>()), 1..80),
            daily in 1..10_usize, weekly in 0..10_usize, monthly in 0..10_usize,
        ) {
            let all = backups(&hours);
            let keep = Keep { daily, weekly, monthly };
            let removed = to_remove(&all, keep);
            let newest = all.iter().map(|backup| backup.at).max().expect("one at least");
            let mut then = all.clone();
            // The next night's, not proven yet.
            then.push(Kept { id: BackupId(Uuid::from_u128(u128::MAX)), at: newest + chrono::TimeDelta::hours(24), proven: false });
            let removed_then = to_remove(&then, keep);
            let anchor = all.iter().filter(|b| b.proven).max_by_key(|b| (b.at, b.id)).map(|b| b.id);
            for backup in &all {
                // Without a proven one the newest stands in for it, and no longer does when it is not the newest.
                prop_assert!(!removed.contains(&backup.id) || removed_then.contains(&backup.id));
                prop_assert!(anchor != Some(backup.id) || !removed_then.contains(&backup.id));
            }
            prop_assert!(!removed_then.contains(&BackupId(Uuid::from_u128(u128::MAX))), "the newest is the last of its day");
        }
    }

    #[test]
    fn the_newest_proven_one_stays_however_old_it_is() {
        let all = backups(&[(0, true), (5000, false), (5024, false)]);
        assert_eq!(to_remove(&all, Keep { daily: 1, weekly: 0, monthly: 0 }), [all[1].id]);
        assert_eq!("7d,5w,12m".parse(), Ok(Keep { daily: 7, weekly: 5, monthly: 12 }));
        for wrong in ["", "7", "0d", "d", "5w", "7d,3y", "-1d"] {
            assert!(wrong.parse::<Keep>().is_err(), "{wrong}");
        }
    }
}
