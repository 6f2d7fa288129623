//! Local times: the rule of RFC 5545 in every zone.

use chrono::TimeDelta;
use pulsecal_core::time::{FoldRule, GapRule, LocalMoment, Zone, ZoneError, resolve, tzdb_version};

use crate::oracle::{all_zones, distinct_zones, local, meant, showings, utc, zone};

#[test]
fn every_change_of_every_zone_is_read_as_rfc_5545_says() {
    let mut changes_seen = 0;
    for (name, changes) in all_zones() {
        for change in changes {
            changes_seen += 1;
            let wide = change.leap().abs();
            // Before, at, within and after the gap or fold, and one second to either side.
            for shift in [
                -wide,
                -wide / 2,
                -TimeDelta::seconds(1),
                TimeDelta::zero(),
                wide / 2,
                wide - TimeDelta::seconds(1),
                wide,
            ] {
                let time = change.old_local() + shift;
                assert_eq!(resolve(zone(name), time), meant(zone(name), time), "{name} {time}");
            }
        }
    }
    assert!(changes_seen > 10_000, "only {changes_seen} changes found");
}

#[test]
fn gaps_and_folds_are_told_apart_with_both_instants() {
    for (zone, changes) in distinct_zones() {
        for change in changes {
            let wide = change.leap();
            if wide > TimeDelta::zero() {
                let time = change.old_local() + wide / 2;
                let after = change.at + wide / 2;
                assert_eq!(LocalMoment::of(zone, time), LocalMoment::Gap { leap: change.at, after }, "{zone} {time}");
                assert_eq!(zone.local(after), time + wide, "{zone} {time}");
            } else {
                let time = change.old_local() + wide / 2;
                let both = showings(zone, time);
                assert_eq!(both.len(), 2, "{zone} {time}");
                let moment = LocalMoment::Fold { first: both[0], second: both[1] };
                assert_eq!(LocalMoment::of(zone, time), moment, "{zone} {time}");
                assert_eq!(both[1] - both[0], -wide, "{zone} {time}");
            }
        }
    }
}

#[test]
fn odd_zones_by_name() {
    for (name, wall, instant) in [
        ("America/New_York", "2026-03-08 02:30:00", "2026-03-08 07:30:00"),
        ("America/New_York", "2026-11-01 01:30:00", "2026-11-01 05:30:00"),
        // Half an hour of summer time.
        ("Australia/Lord_Howe", "2026-10-04 02:15:00", "2026-10-03 15:45:00"),
        ("Australia/Lord_Howe", "2026-04-05 01:45:00", "2026-04-04 14:45:00"),
        // Clocks go forward at midnight.
        ("America/Sao_Paulo", "2018-11-04 00:00:00", "2018-11-04 03:00:00"),
        ("America/Sao_Paulo", "2018-11-04 00:30:00", "2018-11-04 03:30:00"),
        // The 30th of December 2011 did not take place.
        ("Pacific/Apia", "2011-12-30 09:00:00", "2011-12-30 19:00:00"),
        ("Pacific/Apia", "2011-12-31 09:00:00", "2011-12-30 19:00:00"),
        // Summer time is suspended in Ramadan: back on 15 February 2026, forward again on 22 March.
        ("Africa/Casablanca", "2026-02-15 02:30:00", "2026-02-15 01:30:00"),
        ("Africa/Casablanca", "2026-03-22 02:30:00", "2026-03-22 02:30:00"),
        // Winter time is the saved one, an hour back in summer's place.
        ("Europe/Dublin", "2026-03-29 01:30:00", "2026-03-29 01:30:00"),
    ] {
        assert_eq!(resolve(zone(name), local(wall)), utc(instant), "{name} {wall}");
    }
}

#[test]
fn explicit_rules_choose_among_the_instants() {
    let new_york = zone("America/New_York");
    let instants = |wall, gap, fold| LocalMoment::of(new_york, local(wall)).instants(gap, fold).collect::<Vec<_>>();
    let (first, second) = (utc("2026-11-01 05:30:00"), utc("2026-11-01 06:30:00"));
    let fold = "2026-11-01 01:30:00";
    assert_eq!(instants(fold, GapRule::After, FoldRule::First), [first]);
    assert_eq!(instants(fold, GapRule::After, FoldRule::Second), [second]);
    assert_eq!(instants(fold, GapRule::Skip, FoldRule::Both), [first, second]);
    let gap = "2026-03-08 02:30:00";
    assert_eq!(instants(gap, GapRule::After, FoldRule::Second), [utc("2026-03-08 07:30:00")]);
    assert!(instants(gap, GapRule::Skip, FoldRule::Both).is_empty());
}

#[test]
fn links_are_zones_that_keep_their_name() {
    let eastern = zone("US/Eastern");
    assert_eq!(eastern.to_string(), "US/Eastern");
    let json = serde_json::to_string(&eastern).unwrap();
    assert_eq!(json, "\"US/Eastern\"");
    assert_eq!(serde_json::from_str::<Zone>(&json).unwrap(), eastern);
    let noon = local("2026-07-01 12:00:00");
    assert_eq!(resolve(eastern, noon), resolve(zone("America/New_York"), noon));
    assert!(tzdb_version().starts_with("20"));
}

#[test]
fn what_is_no_zone_is_named_safely() {
    let error = |name: &str| name.parse::<Zone>().map_err(|error: ZoneError| error.to_string()).unwrap_err();
    assert!(error("Europe/Berlim").contains("\"Europe/Berlim\""));
    assert!(error("Europe/Berlim").contains("\"Europe/Berlin\""));
    assert!(!error("a\r\nSet-Cookie: x").contains('\n'));
    assert!(error(&"x".repeat(100_000)).len() < 250);
    assert!(error("").contains("\"\""));
    assert!(serde_json::from_str::<Zone>("\"Mars/Base\"").is_err());
}
