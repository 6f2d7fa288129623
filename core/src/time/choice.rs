//! Small enums that are stored as one word.

/// A word that names none of an enum's variants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {given}: give one of {known}")]
pub struct UnknownWord {
    what: &'static str,
    given: String,
    known: String,
}

impl UnknownWord {
    pub(super) fn new(what: &'static str, given: &str, known: &[&str]) -> Self {
        Self { what, given: super::quoted(given), known: known.join(", ") }
    }
}

/// Gives a field-less enum the words it has in the database and in JSON: one list instead of four that could disagree.
macro_rules! words {
    ($type:ty, $what:literal, { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $type {
            /// The word that stands for this value in the database and in JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::time::choice::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::time::choice::UnknownWord::new($what, word, &[$($word),+])),
                }
            }
        }

        impl From<$type> for &'static str {
            fn from(value: $type) -> Self {
                value.as_str()
            }
        }

        impl TryFrom<String> for $type {
            type Error = $crate::time::choice::UnknownWord;

            fn try_from(word: String) -> Result<Self, Self::Error> {
                word.parse()
            }
        }
    };
}
pub(super) use words;
