//! Amounts of money: whole numbers of the smallest unit of a currency (ISO 4217), as 2500 is 25.00 EUR.

use std::fmt;
use std::str::FromStr;

/// The largest amount, in the smallest unit of its currency.
pub const MOST_AMOUNT: i64 = 1_000_000_000_000;

/// A currency of ISO 4217 that people pay with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// Its three letters.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// An amount in words for people, as in `25.00 EUR`.
    pub fn written(self, amount: i64) -> String {
        let digits = usize::from(self.0.exponent().unwrap_or_default());
        let sign = if amount < 0 { "-" } else { "" };
        let text = format!("{:0>width$}", amount.unsigned_abs(), width = digits + 1);
        let (whole, part) = text.split_at(text.len() - digits);
        let point = if part.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{part} {}", self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// There is no such currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a currency of ISO 4217, as in EUR")]
pub struct NoCurrency;

impl FromStr for Currency {
    type Err = NoCurrency;

    fn from_str(text: &str) -> Result<Self, NoCurrency> {
        let found = iso_currency::Currency::from_code(text).filter(|found| found.exponent().is_some());
        found.map(Self).ok_or(NoCurrency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_with_the_digits_of_their_currency() {
        let written = |code: &str, amount| code.parse::<Currency>().expect("a currency").written(amount);
        assert_eq!(written("EUR", 2500), "25.00 EUR");
        assert_eq!(written("EUR", 7), "0.07 EUR");
        assert_eq!(written("EUR", -1205), "-12.05 EUR");
        assert_eq!(written("JPY", 2500), "2500 JPY");
        assert_eq!(written("KWD", 2500), "2.500 KWD");
        assert_eq!(written("EUR", 0), "0.00 EUR");
    }

    #[test]
    fn what_nobody_pays_with_is_no_currency() {
        for wrong in ["", "eur", "EURO", "ABC", "XXX", "XAU"] {
            assert_eq!(wrong.parse::<Currency>(), Err(NoCurrency), "{wrong}");
        }
    }
}
