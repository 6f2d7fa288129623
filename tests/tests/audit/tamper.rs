//! What a superuser of the database does to entries and chains is found, by us and by a verifier of others.

use pulsecal_core::audit::link;
use pulsecal_core::store::Scope;
use pulsecal_core::store::audit::chain;
use serde_json::json;
use uuid::Uuid;

use futures_util::TryStreamExt;

use crate::support::{Ledger, org};

const A: &str = "00000000-0000-0000-0000-00000000000a";

/// Thirty entries of A, twenty of B, ten of the platform, sealed, with heads when A had ten, twenty, thirty.
async fn sealed() -> (Ledger, Vec<std::path::PathBuf>) {
    let ledger = Ledger::open().await;
    let mut heads = Vec::new();
    for _ in 0..3 {
        ledger.write(Some(org(0xa)), 10).await;
        ledger.write(Some(org(0xb)), 7).await;
        ledger.write(None, 3).await;
        ledger.seal().await;
        heads.push(ledger.head().await);
    }
    (ledger, heads)
}

/// Both verifiers name this as the first thing that is wrong, in the chain of A, and in no other.
async fn found(ledger: &Ledger, heads: &[std::path::PathBuf], wrong: &str, seq: i64) {
    let (code, said) = ledger.verify(&["--against", "newest"]).await;
    assert_eq!(code, 1, "{wrong}: {said}");
    let findings = said["findings"].as_array().expect("a list");
    let first: Vec<_> = findings.iter().map(|f| (f["org"].as_str(), f["wrong"].as_str(), f["seq"].as_i64())).collect();
    assert_eq!(first, [(Some(A), Some(wrong), Some(seq))], "{said}");
    let heads: Vec<&std::path::Path> = heads.iter().map(std::path::PathBuf::as_path).collect();
    let (code, said) = ledger.verify_in_python(&heads).await;
    assert_eq!((code, said.trim()), (1, format!("{A} {seq} {}", in_python(wrong)).as_str()));
}

/// It does not look for the partner of a swap.
fn in_python(wrong: &str) -> &str {
    if wrong == "swapped" { "changed" } else { wrong }
}

/// The entry of link `seq` of A, for use in a statement.
fn entry_at(seq: i64) -> String {
    format!("(SELECT entry_id FROM audit_chain WHERE org_id = '{A}' AND seq = {seq})")
}

#[tokio::test]
async fn what_nobody_touched_is_well() {
    let (ledger, heads) = sealed().await;
    let (code, said) = ledger.verify(&["--against", "newest"]).await;
    assert_eq!(
        (code, &said["links"], &said["chains"], &said["heads"]),
        (0, &json!(60), &json!(3), &json!(3)),
        "{said}"
    );
    let heads: Vec<&std::path::Path> = heads.iter().map(std::path::PathBuf::as_path).collect();
    assert_eq!(
        ledger.verify_in_python(&heads).await,
        (0, "60 entries in 3 chains are as they were sealed\n".to_owned())
    );
    let (code, said) = ledger.verify(&["--org", A, "--from", "12"]).await;
    assert_eq!((code, &said["links"]), (0, &json!(19)), "{said}");
    // What cannot be checked is not well.
    let (code, _) = ledger.verify(&["--org", "00000000-0000-0000-0000-0000000000ff"]).await;
    assert_eq!(code, 2);
    let changed = std::fs::read_to_string(heads[2]).expect("reads").replace("\"seq\":30", "\"seq\":29");
    let forged = ledger.folder.join("forged.json");
    std::fs::write(&forged, changed).expect("writes");
    let (code, said) = ledger.verify(&["--against", forged.to_str().expect("a path of ours")]).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.as_str().is_some_and(|text| text.contains("signature")), "{said}");
}

#[tokio::test]
async fn an_edited_entry() {
    let (ledger, heads) = sealed().await;
    ledger.tamper(&format!("UPDATE audit_entries SET outcome = 'denied' WHERE id = {}", entry_at(12))).await;
    found(&ledger, &heads, "changed", 12).await;
    // From behind it all is well.
    assert_eq!(ledger.verify(&["--org", A, "--from", "13"]).await.0, 0);
}

#[tokio::test]
async fn an_entry_removed_from_the_middle_with_or_without_its_link() {
    let (ledger, heads) = sealed().await;
    ledger.tamper(&format!("DELETE FROM audit_entries WHERE id = {}", entry_at(12))).await;
    found(&ledger, &heads, "removed", 12).await;
    ledger.tamper(&format!("DELETE FROM audit_chain WHERE org_id = '{A}' AND seq = 12")).await;
    found(&ledger, &heads, "removed", 12).await;
}

#[tokio::test]
async fn the_end_cut_off() {
    let (ledger, heads) = sealed().await;
    let end = format!("org_id = '{A}' AND seq > 26");
    ledger
        .tamper(&format!(
            "DELETE FROM audit_entries WHERE id IN (SELECT entry_id FROM audit_chain WHERE {end}); DELETE FROM audit_chain WHERE {end}"
        ))
        .await;
    assert_eq!(ledger.verify(&[]).await.0, 0, "without a signed head nobody can tell");
    found(&ledger, &heads, "truncated", 27).await;
}

/// What dropping a partition would leave: every entry of a month is gone, with or without its link, at the start or in the middle.
#[tokio::test]
async fn a_whole_month_taken_away() {
    for (month, first) in [("seq <= 10", 1), ("seq BETWEEN 11 AND 20", 11)] {
        let (ledger, heads) = sealed().await;
        let links = format!("org_id = '{A}' AND {month}");
        let entries = format!("DELETE FROM audit_entries WHERE id IN (SELECT entry_id FROM audit_chain WHERE {links})");
        ledger.tamper(&entries).await;
        found(&ledger, &heads, "removed", first).await;
        ledger.tamper(&format!("DELETE FROM audit_chain WHERE {links}")).await;
        found(&ledger, &heads, "removed", first).await;
    }
}

#[tokio::test]
async fn two_entries_swapped() {
    let columns = "(at, actor_kind, actor_id, role, action, subject_type, subject_id, outcome, request_id, detail)";
    let (ledger, heads) = sealed().await;
    let (one, other) = (entry_at(11), entry_at(22));
    ledger
        .tamper(&format!(
            "UPDATE audit_entries e SET {columns} = (SELECT {} FROM audit_entries o WHERE o.id = CASE e.id WHEN {one} THEN {other} ELSE {one} END)
             WHERE id IN ({one}, {other})",
            columns.trim_matches(['(', ')'])
        ))
        .await;
    found(&ledger, &heads, "swapped", 11).await;
}

#[tokio::test]
async fn two_links_swapped() {
    let (ledger, heads) = sealed().await;
    ledger
        .tamper(&format!(
            "UPDATE audit_chain SET seq = -seq WHERE false; ALTER TABLE audit_chain DROP CONSTRAINT audit_chain_seq_check;
             UPDATE audit_chain SET seq = -seq WHERE org_id = '{A}' AND seq IN (11, 22);
             UPDATE audit_chain SET seq = CASE seq WHEN -11 THEN 22 ELSE 11 END WHERE org_id = '{A}' AND seq IN (-11, -22)"
        ))
        .await;
    found(&ledger, &heads, "swapped", 11).await;
}

#[tokio::test]
async fn an_entry_slipped_in_among_sealed_ones() {
    let (ledger, heads) = sealed().await;
    // Written as if by the transaction of entry 12, before it.
    ledger
        .tamper(&format!(
            "INSERT INTO audit_entries (id, org_id, at, actor_kind, role, action, subject_type, subject_id, outcome, request_id, xid)
             SELECT '00000000-0000-0000-0000-000000000001', org_id, at, 'operator', 'operator', 'dose.taken', 'thing', id, 'success', id, xid
             FROM audit_entries WHERE id = {}",
            entry_at(12)
        ))
        .await;
    found(&ledger, &heads, "inserted", 12).await;
}

#[tokio::test]
async fn a_whole_chain_written_anew() {
    for (from, head_says) in [(1, 1), (15, 11)] {
        let (ledger, heads) = sealed().await;
        ledger.tamper(&format!("UPDATE audit_entries SET outcome = 'denied' WHERE id = {}", entry_at(from))).await;
        write_anew(&ledger, from).await;
        assert_eq!(ledger.verify(&[]).await.0, 0, "the chain itself fits");
        // What the older heads confirm was not touched.
        found(&ledger, &heads, "rewritten", head_says).await;
    }
}

/// As somebody would who knows the code, and has the rights of a superuser.
async fn write_anew(ledger: &Ledger, from: i64) {
    let chain_of = Uuid::parse_str(A).expect("an id");
    let mut tx = ledger.ctx.begin(Scope::Platform).await.expect("begins");
    let links: Vec<_> = chain::links(tx.conn(), chain_of, 1, 30).try_collect().await.expect("reads");
    drop(tx);
    let mut before = link::GENESIS;
    for found in links {
        let hash = link::hash(chain_of, found.seq, &before, &found.entry.expect("it is there"));
        assert!(found.seq >= from || hash.as_slice() == found.hash);
        before = hash;
        let hash = link::hex(&hash);
        ledger
            .tamper(&format!("UPDATE audit_chain SET hash = '\\x{hash}' WHERE org_id = '{A}' AND seq = {}", found.seq))
            .await;
    }
}

#[tokio::test]
async fn links_taken_away_and_an_older_state_restored() {
    let (ledger, heads) = sealed().await;
    // Only the newest links: their entries are there, and the marks say that they were sealed.
    ledger.tamper(&format!("CREATE TABLE away AS SELECT * FROM audit_chain WHERE org_id = '{A}' AND seq > 20; DELETE FROM audit_chain WHERE org_id = '{A}' AND seq > 20")).await;
    found(&ledger, &heads, "truncated", 21).await;
    // The state of the second head: entries, links and mark. It fits in itself.
    ledger
        .tamper(
            "DELETE FROM audit_entries WHERE id IN (SELECT entry_id FROM away);
             UPDATE audit_marks SET (xid, entry) = (SELECT xid, id FROM audit_entries ORDER BY xid DESC, id DESC LIMIT 1) WHERE name = 'seal'",
        )
        .await;
    assert_eq!(ledger.verify(&[]).await.0, 0, "without a signed head nobody can tell");
    found(&ledger, &heads, "truncated", 21).await;
    // And life goes on from there: other entries take the numbers of the lost ones.
    ledger.write(Some(org(0xa)), 15).await;
    ledger.seal().await;
    found(&ledger, &heads, "rewritten", 21).await;
}
