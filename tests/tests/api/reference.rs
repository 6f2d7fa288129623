//! `/docs`: the contract as a page, for anybody, with nothing from elsewhere and nothing that needs a script.

use std::collections::BTreeSet;

use crate::support::TestApi;

#[tokio::test]
async fn the_page_shows_every_operation_of_the_document_and_loads_nothing_from_elsewhere() {
    let api = TestApi::start().await;
    let document = api.anonymous().get("/openapi.json").await.expect_status(200).json();
    let answer = api.anonymous().get("/docs").await.expect_status(200);
    let policy = answer.header("content-security-policy").expect("a policy").to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let page = answer.text();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let id = operation["operationId"].as_str().expect("an id");
            let part = page
                .split(&format!("<details class=\"operation\" id=\"{id}\">"))
                .nth(1)
                .unwrap_or_else(|| panic!("no {method} {path}"));
            let part = part.split("</details>").next().expect("a part");
            let escaped = path.replace('/', "&#x2F;");
            assert!(
                part.contains(&method.to_uppercase()) && (part.contains(path) || part.contains(&escaped)),
                "{part}"
            );
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().expect("a name");
                assert!(part.contains(&format!("<code>{name}</code>")), "{id}: {name}");
            }
            for status in operation["responses"].as_object().expect("answers").keys() {
                assert!(part.contains(&format!("<dt>{status}</dt>")), "{id}: {status}");
            }
        }
    }
    for schema in document["components"]["schemas"].as_object().expect("schemas").keys() {
        assert!(page.contains(&format!("id=\"schema-{schema}\"")), "{schema}");
    }
    // Nothing inline, nothing from another host, no anchor that leads nowhere.
    assert!(!page.contains("style=") && !page.contains("<style") && !page.contains(" onclick"));
    assert!(page.split("<script").skip(1).all(|script| script.starts_with(" src=\"/assets/")), "an inline script");
    let ids: BTreeSet<&str> = page.split(" id=\"").skip(1).filter_map(|part| part.split('"').next()).collect();
    for anchor in page.split("href=\"#").skip(1).filter_map(|part| part.split('"').next()) {
        assert!(ids.contains(anchor), "{anchor}");
    }
    for attribute in ["src=\"", "href=\""] {
        for address in page.split(attribute).skip(1).filter_map(|part| part.split('"').next()) {
            assert!(address.starts_with(['/', '#']) || address == "data:,", "{address}");
        }
    }
}
