//! The routes that the code has are those of the table that says who may.

use std::collections::BTreeSet;

use pulsecal_api::policy::RULES;

use crate::fences::{root, rust_files};

#[test]
fn every_route_stands_in_the_table_and_no_other() {
    let mut files = Vec::new();
    rust_files(&root().join("api/src"), &mut files);
    let mut routed = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let under_v1 =
            file.parent().is_some_and(|folder| folder.ends_with("api/src/routes")) && !file.ends_with("files.rs");
        // `.route("/path", get(…).post(…))`: what follows the path, up to the end of the line, names the methods.
        for route in code.split(".route(\"").skip(1) {
            let (path, rest) = route.split_once('"').expect("a path");
            let line = rest.lines().next().unwrap_or_default();
            let path = if under_v1 { format!("/v1{path}") } else { path.to_owned() };
            let before = routed.len();
            for method in ["get", "post", "put", "patch", "delete"] {
                if line.contains(&format!(" {method}(")) || line.contains(&format!(").{method}(")) {
                    routed.insert((method.to_uppercase(), path.clone()));
                }
            }
            assert!(routed.len() > before, "{path}: its methods are not on its line of {}", file.display());
        }
    }
    let table: BTreeSet<_> = RULES.iter().map(|rule| (rule.method.to_owned(), rule.path.to_owned())).collect();
    assert_eq!(routed, table);
}

#[test]
fn only_who_asked_the_table_gets_to_the_database() {
    let mut files = Vec::new();
    rust_files(&root().join("api/src"), &mut files);
    let begins = files.iter().filter(|file| {
        let text = std::fs::read_to_string(file).expect("readable");
        text.contains("ctx.begin(") || text.contains("db.begin(")
    });
    let found: BTreeSet<String> =
        begins.map(|file| file.strip_prefix(root().join("api/src")).expect("within").display().to_string()).collect();
    // Extractors that ask the table and what they hand out, keys once it is known whose, the pages before signing in, the mailbox
    // without a mail server, and the loop that listens for all.
    let expected = [
        "access.rs",
        "exports/live.rs",
        "exports/mod.rs",
        "idempotency.rs",
        "pages/inbox.rs",
        "pages/session.rs",
        "pages/sign_in.rs",
    ];
    assert_eq!(found, expected.map(str::to_owned).into());
}
