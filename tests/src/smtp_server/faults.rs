//! Which message meets which fault.

use std::collections::HashMap;
use std::time::Duration;

/// A point at which the client waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The first line of a connection.
    Greeting,
    /// EHLO or HELO.
    Hello,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA.
    Data,
    /// The final dot.
    Dot,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This answer instead of the good one. After 421 the connection is closed.
    Refuse {
        /// Where.
        stage: Stage,
        /// 4xx or 5xx.
        code: u16,
        /// What follows the code.
        text: String,
    },
    /// No answer, ever; the connection stays open until the client closes it. At the dot: not accepted.
    Hang(Stage),
    /// The good answer, late.
    Slow(Stage, Duration),
    /// The connection is closed instead of an answer. At [`Stage::Data`]: before any of the message. At the dot: after the
    /// whole message, which is not accepted.
    Drop(Stage),
    /// The connection is closed when the first bytes of the message arrive.
    DropMidBody,
    /// The message is accepted, and the connection closed before the 250.
    AcceptThenDrop,
    /// The message is accepted, and nothing is answered.
    AcceptThenHang,
    /// The message is accepted, the 250 sent, and the connection closed without 221.
    DropAfterReply,
}

impl Fault {
    /// [`Fault::Refuse`] with a text that fits the code.
    ///
    /// # Panics
    /// If the code is no 4xx or 5xx.
    pub fn refuse(stage: Stage, code: u16) -> Self {
        let text = match code {
            421 => "4.3.2 closing the channel",
            400..=499 => "4.3.0 try again later",
            500..=599 => "5.1.1 no",
            _ => panic!("{code} refuses nothing"),
        };
        Self::Refuse { stage, code, text: text.to_owned() }
    }

    pub(super) fn stage(&self) -> Stage {
        match self {
            Self::Refuse { stage, .. } | Self::Hang(stage) | Self::Slow(stage, _) | Self::Drop(stage) => *stage,
            Self::DropMidBody | Self::AcceptThenDrop | Self::AcceptThenHang | Self::DropAfterReply => Stage::Dot,
        }
    }
}

/// Rules, of which the first that fits decides. Recipients are compared without regard to case.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    seed: u64,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    who: Who,
    fault: Fault,
}

#[derive(Clone, Debug)]
enum Who {
    Everyone,
    Recipient(String),
    Domain(String),
    FirstTries(u64),
    Next(u64),
    /// A part of the unit interval, from and up to.
    Share(f64, f64),
}

impl Faults {
    /// No faults.
    pub fn none() -> Self {
        Self::default()
    }

    /// No faults yet; shares follow a pattern that this seed decides.
    pub fn seeded(seed: u64) -> Self {
        Self { seed, rules: Vec::new() }
    }

    /// For everything.
    #[must_use]
    pub fn always(self, fault: Fault) -> Self {
        self.rule(Who::Everyone, fault)
    }

    /// For this recipient. Like the next two, from [`Stage::Rcpt`] on: before, the recipient is not known.
    #[must_use]
    pub fn recipient(self, address: &str, fault: Fault) -> Self {
        self.late_rule(Who::Recipient(address.to_ascii_lowercase()), fault)
    }

    /// For recipients in this domain.
    #[must_use]
    pub fn domain(self, domain: &str, fault: Fault) -> Self {
        self.late_rule(Who::Domain(domain.to_ascii_lowercase()), fault)
    }

    /// For the first `tries` transactions to each recipient.
    #[must_use]
    pub fn first_tries(self, tries: u64, fault: Fault) -> Self {
        self.late_rule(Who::FirstTries(tries), fault)
    }

    /// For the next `count` times that the rule is come to, whoever it is.
    #[must_use]
    pub fn next(self, count: u64, fault: Fault) -> Self {
        self.rule(Who::Next(count), fault)
    }

    /// For this share of transactions, between 0 and 1. Shares of several rules add up and exclude each other.
    ///
    /// Which ones is decided by seed, recipient and the number of the try to it (before [`Stage::Rcpt`]: the number of the
    /// connection or transaction), so it does not depend on the order in which concurrent senders arrive.
    ///
    /// # Panics
    /// If the shares of the rules exceed 1.
    #[must_use]
    pub fn share(self, share: f64, fault: Fault) -> Self {
        let early = fault.stage() < Stage::Rcpt;
        let start = self
            .rules
            .iter()
            .filter(|rule| (rule.fault.stage() < Stage::Rcpt) == early)
            .filter_map(|rule| if let Who::Share(_, end) = rule.who { Some(end) } else { None })
            .fold(0.0, f64::max);
        assert!(share >= 0.0 && start + share <= 1.0 + 1e-9, "the shares exceed 1");
        self.rule(Who::Share(start, start + share), fault)
    }

    fn late_rule(self, who: Who, fault: Fault) -> Self {
        assert!(fault.stage() >= Stage::Rcpt, "the recipient is not known at {:?}", fault.stage());
        self.rule(who, fault)
    }

    fn rule(mut self, who: Who, fault: Fault) -> Self {
        self.rules.push(Rule { who, fault });
        self
    }
}

/// Faults and what has been counted for them.
#[derive(Debug, Default)]
pub(super) struct LiveFaults {
    faults: Faults,
    tries: HashMap<String, u64>,
    early: u64,
}

impl LiveFaults {
    pub(super) fn new(faults: Faults) -> Self {
        Self { faults, tries: HashMap::new(), early: 0 }
    }

    /// The fault at a stage before any recipient is known.
    pub(super) fn at(&mut self, stage: Stage) -> Option<Fault> {
        if self.faults.rules.is_empty() {
            return None;
        }
        self.early += 1;
        let roll = roll(self.faults.seed, "", self.early);
        first_fitting(&mut self.faults.rules, |rule| rule.fault.stage() == stage, "", 0, roll)
    }

    /// The fault that a transaction to this recipient meets, from its RCPT on.
    pub(super) fn of_recipient(&mut self, recipient: &str) -> Option<Fault> {
        if self.faults.rules.is_empty() {
            return None;
        }
        let recipient = recipient.to_ascii_lowercase();
        let tries = self.tries.entry(recipient.clone()).or_insert(0);
        *tries += 1;
        let (tries, roll) = (*tries, roll(self.faults.seed, &recipient, *tries));
        first_fitting(&mut self.faults.rules, |rule| rule.fault.stage() >= Stage::Rcpt, &recipient, tries, roll)
    }
}

fn first_fitting(
    rules: &mut [Rule],
    concerned: impl Fn(&Rule) -> bool,
    recipient: &str,
    tries: u64,
    roll: f64,
) -> Option<Fault> {
    for rule in rules.iter_mut().filter(|rule| concerned(rule)) {
        let fits = match &mut rule.who {
            Who::Everyone => true,
            Who::Recipient(address) => address == recipient,
            Who::Domain(domain) => recipient.rsplit_once('@').is_some_and(|(_, own)| own == domain),
            Who::FirstTries(first) => tries <= *first,
            Who::Next(0) => false,
            Who::Next(left) => {
                *left -= 1;
                true
            }
            Who::Share(from, to) => (*from..*to).contains(&roll),
        };
        if fits {
            return Some(rule.fault.clone());
        }
    }
    None
}

/// A number in [0, 1) that looks random: FNV-1a over the key, then the finish of splitmix64.
fn roll(seed: u64, recipient: &str, number: u64) -> f64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in seed.to_le_bytes().into_iter().chain(recipient.bytes()).chain(number.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_met_exclude_each_other_and_do_not_depend_on_order() {
        let faults = || Faults::seeded(11).share(0.2, Fault::DropMidBody).share(0.3, Fault::refuse(Stage::Dot, 451));
        let recipients: Vec<String> = (0..4_000).map(|number| format!("p{number}@example.org")).collect();
        let mut forwards = LiveFaults::new(faults());
        let mut backwards = LiveFaults::new(faults());
        let one: Vec<_> = recipients.iter().map(|to| forwards.of_recipient(to)).collect();
        let mut other: Vec<_> = recipients.iter().rev().map(|to| backwards.of_recipient(to)).collect();
        other.reverse();
        assert_eq!(one, other);
        let drops = one.iter().filter(|fault| **fault == Some(Fault::DropMidBody)).count();
        let refusals = one.iter().filter(|fault| matches!(fault, Some(Fault::Refuse { .. }))).count();
        assert!((700..900).contains(&drops), "{drops} of 800");
        assert!((1_080..1_320).contains(&refusals), "{refusals} of 1200");
    }

    #[test]
    fn a_recipient_in_a_share_is_not_hit_at_every_try() {
        let mut live = LiveFaults::new(Faults::seeded(3).share(0.5, Fault::DropMidBody));
        let hits = (0..200).filter(|_| live.of_recipient("a@example.org").is_some()).count();
        assert!((60..140).contains(&hits), "{hits} of 100");
    }

    #[test]
    #[should_panic(expected = "the recipient is not known")]
    fn a_recipients_fault_before_the_recipient_is_known_is_a_mistake() {
        let _ = Faults::none().recipient("a@example.org", Fault::Hang(Stage::Mail));
    }
}
