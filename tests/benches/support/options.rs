//! Options of a bench, after the `--` of `./dev bench NAME -- --option value`.

use std::str::FromStr;

/// The options this bench was started with.
#[derive(Debug)]
pub struct Options(Vec<String>);

impl Options {
    /// Reads them, and refuses what is not `known`. The `--bench` that cargo adds is passed over.
    ///
    /// # Panics
    /// At an unknown option; the message lists the known ones.
    pub fn read(known: &[&str]) -> Self {
        let given: Vec<String> = std::env::args().skip(1).filter(|text| text != "--bench").collect();
        for (place, text) in given.iter().enumerate() {
            let fits = if place % 2 == 0 { known.contains(&text.as_str()) } else { true };
            assert!(
                fits && given.len().is_multiple_of(2),
                "{text:?}: the options are {}, each with a value",
                known.join(", ")
            );
        }
        Self(given)
    }

    /// The value of an option, or what holds without it.
    ///
    /// # Panics
    /// If the value cannot be read.
    pub fn value<T: FromStr>(&self, name: &str, default: T) -> T {
        match self.text(name) {
            None => default,
            Some(text) => text.parse().unwrap_or_else(|_| panic!("{name}: {text:?} is no value for it")),
        }
    }

    /// The values of an option that takes several, with commas between.
    ///
    /// # Panics
    /// If one cannot be read.
    pub fn values<T: FromStr>(&self, name: &str, default: &str) -> Vec<T> {
        let text = self.text(name).unwrap_or(default);
        text.split(',')
            .map(|part| part.trim().parse().unwrap_or_else(|_| panic!("{name}: {part:?} is no value for it")))
            .collect()
    }

    fn text(&self, name: &str) -> Option<&str> {
        let place = self.0.iter().position(|text| text == name)?;
        self.0.get(place + 1).map(String::as_str)
    }
}
