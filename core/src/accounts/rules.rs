//! Which passwords are taken: long enough, not among the ones that everybody tries first, and not made of what is known of
//! their owner. Nothing is asked of their letters.

use std::collections::BTreeSet;

/// The shortest, in characters.
pub const SHORTEST: usize = 8;
/// The longest, in characters.
pub const LONGEST: usize = 128;
/// With fewer different characters it is a pattern.
const DIFFERENT: usize = 4;
/// Words that are known of somebody count from this length on.
const WORD: usize = 4;

/// The passwords that most people take, lower case and sorted: those of six characters or more of the 30,000 of zxcvbn
/// (MIT; Copyright 2012-2016 Dan Wheeler and Dropbox, Inc., 2016 Joshua Holmer; `common_passwords.LICENSE`). They are not ours, and not nice.
const COMMON: &str = include_str!("common_passwords.txt");

/// Why a password is not taken, with what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Fewer characters than [`SHORTEST`].
    #[error("The password is too short. Use {SHORTEST} characters or more; a few words in a row are easy to remember.")]
    Short,
    /// More characters than [`LONGEST`].
    #[error("The password is too long. Use {LONGEST} characters at most.")]
    Long,
    /// Everybody tries it first.
    #[error(
        "This password is one of those that are tried first, as many people use it. Use another one, such as a few words that have nothing to do with each other."
    )]
    Common,
    /// The same few characters over and over.
    #[error(
        "This password is the same few characters over and over. Use another one, such as a few words that have nothing to do with each other."
    )]
    Pattern,
    /// Made of what is known of its owner.
    #[error(
        "This password is made of your name, your address or your clinic's name, which others can guess. Use another one, or add words that have nothing to do with them."
    )]
    Personal,
}

/// Whether a password may be taken by somebody of whom these texts are known: address, names, clinics. It is taken as it is:
/// no space is cut off, no character replaced.
///
/// # Errors
/// Why not.
pub fn check(password: &str, known: &[&str]) -> Result<(), Unfit> {
    let length = password.chars().count();
    if length < SHORTEST {
        return Err(Unfit::Short);
    }
    if length > LONGEST {
        return Err(Unfit::Long);
    }
    let plain = password.to_lowercase();
    // What people put around a common word when they are asked for more: "Password1!" is no better than "password".
    let bare = plain.trim().trim_matches(|c: char| c.is_ascii_digit() || c.is_ascii_punctuation());
    if is_common(plain.trim()) || is_common(bare) {
        return Err(Unfit::Common);
    }
    if plain.chars().collect::<BTreeSet<_>>().len() < DIFFERENT {
        return Err(Unfit::Pattern);
    }
    let mut words: Vec<String> = known
        .iter()
        .chain(&["pulsecal"])
        .flat_map(|text| text.split(|c: char| !c.is_alphanumeric()))
        .filter(|word| word.chars().count() >= WORD)
        .map(str::to_lowercase)
        .collect();
    // A longer word first: it may hold a shorter one.
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let rest = words.iter().fold(plain.clone(), |rest, word| rest.replace(word.as_str(), " "));
    let left = rest.chars().filter(|c| c.is_alphabetic()).count();
    if rest != plain && left < SHORTEST {
        return Err(Unfit::Personal);
    }
    Ok(())
}

fn is_common(word: &str) -> bool {
    COMMON.len() > word.len() && {
        let words: &[&str] = common();
        words.binary_search(&word).is_ok()
    }
}

fn common() -> &'static [&'static str] {
    static WORDS: std::sync::OnceLock<Vec<&'static str>> = std::sync::OnceLock::new();
    WORDS.get_or_init(|| COMMON.lines().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["tom.ahlers@lindenhof.example.org", "Tom Ahlers", "Lindenhof Family Practice"];

    #[test]
    fn length_is_counted_in_characters_and_nothing_else_is_asked() {
        assert_eq!(check("Kürbis7", &KNOWN), Err(Unfit::Short));
        assert_eq!(check("Kürbis7é", &KNOWN), Ok(()));
        assert_eq!(check(&"aä\u{1f511}z".repeat(32), &KNOWN), Ok(()));
        assert_eq!(check(&"abcde".repeat(26), &KNOWN), Err(Unfit::Long));
        for fine in
            ["correct horse battery staple", "        x yz w", "ничего общего", "onlylowercaseletters", "4815926535"]
        {
            assert_eq!(check(fine, &KNOWN), Ok(()), "{fine}");
        }
    }

    #[test]
    fn what_everybody_takes_is_refused_also_with_something_around_it() {
        assert!(common().is_sorted() && common().len() > 20_000);
        for common in [
            "password",
            "PASSWORD",
            "12345678",
            "qwertyuiop",
            "Password1!",
            "iloveyou2024",
            "football!!",
            "  sunshine ",
        ] {
            assert_eq!(check(common, &KNOWN), Err(Unfit::Common), "{common}");
        }
        for pattern in ["abababababab", "xxxxxxxxxx!"] {
            assert_eq!(check(pattern, &KNOWN), Err(Unfit::Pattern), "{pattern}");
        }
    }

    #[test]
    fn what_is_known_of_somebody_does_not_make_a_password() {
        for known in
            ["Ahlers2026!", "lindenhof.ahlers", "PulseCal-2026", "tom.ahlers@lindenhof.example.org", "family practice"]
        {
            assert_eq!(check(known, &KNOWN), Err(Unfit::Personal), "{known}");
        }
        assert_eq!(check("ahlers walks under seven bridges", &KNOWN), Ok(()), "a word of it does no harm among others");
    }
}
