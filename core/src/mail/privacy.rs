//! How much a message may say about a patient's health.

use serde::{Deserialize, Serialize};

/// The patient's choice of what may be written in a mail, its subject, preheader, sender name and
/// links. Each level allows all that the ones before it allow. The default is the lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "i16", into = "i16")]
pub enum PrivacyLevel {
    /// 0: that there is an update, from the clinic's discreet name. Nothing else.
    #[default]
    Discreet = 0,
    /// 1: also date and time, the clinic's name and telephone number.
    WhenWhere = 1,
    /// 2: also who prescribed, and what kind of reminder it is.
    Provider = 2,
    /// 3: also the medicine's name and dosage. Only by recorded opt-in.
    Medicine = 3,
}

/// A number that is no privacy level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a privacy level (0 to 3)")]
pub struct UnknownPrivacyLevel(pub i16);

impl TryFrom<i16> for PrivacyLevel {
    type Error = UnknownPrivacyLevel;

    fn try_from(level: i16) -> Result<Self, Self::Error> {
        match level {
            0 => Ok(Self::Discreet),
            1 => Ok(Self::WhenWhere),
            2 => Ok(Self::Provider),
            3 => Ok(Self::Medicine),
            other => Err(UnknownPrivacyLevel(other)),
        }
    }
}

impl From<PrivacyLevel> for i16 {
    fn from(level: PrivacyLevel) -> Self {
        level as i16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_is_its_number_everywhere() {
        for level in 0..4_i16 {
            let read = PrivacyLevel::try_from(level).expect("a level");
            assert_eq!(i16::from(read), level);
            assert_eq!(serde_json::to_string(&read).expect("json"), level.to_string());
            assert_eq!(serde_json::from_str::<PrivacyLevel>(&level.to_string()).expect("json"), read);
        }
        for bad in [-1, 4] {
            assert_eq!(PrivacyLevel::try_from(bad), Err(UnknownPrivacyLevel(bad)));
            assert!(serde_json::from_str::<PrivacyLevel>(&bad.to_string()).is_err());
        }
        assert_eq!(PrivacyLevel::default(), PrivacyLevel::Discreet);
    }
}
