//! Prints the contract: `./dev openapi` writes it to docs/openapi.json.

fn main() {
    print!("{}", pulsecal_api::contract::text());
}
