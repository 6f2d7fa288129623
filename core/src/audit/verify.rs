//! Verifying: every link is computed anew, and every chain is held against the signed heads. Memory does not grow with the
//! chains: links are read as a stream, in lanes that run side by side.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use futures_util::TryStreamExt;
use serde::Serialize;
use uuid::Uuid;

use crate::audit::head::Heads;
use crate::audit::link::{self, GENESIS, LinkHash, hex};
use crate::context::Context;
use crate::store::audit::chain::{self, EntryRow, Link};
use crate::store::{DbError, Scope};

/// A lane reads so many links at a time.
const STRETCH: i64 = 50_000;
/// So many lanes: while Postgres reads for one, another hashes.
const LANES: usize = 2;
/// Where a link does not fit, so many links on are tried in its place.
const LOOK_AHEAD: i64 = 2_000;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// The entry, or its link, is not as it was sealed.
    Changed,
    /// The entry, or its link, is gone.
    Removed,
    /// An entry that the sealer has not seen lies among those that it has.
    Inserted,
    /// Two entries stand in each other's place.
    Swapped,
    /// The end of the chain is gone: a signed head knows of more.
    Truncated,
    /// All links fit, and a signed head says that they were others: written anew from here at the earliest.
    Rewritten,
}

/// The first thing that is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The chain: an organization, or the nil id for the platform's own.
    pub org: Uuid,
    /// The number of the link.
    pub seq: i64,
    /// The entry, if it is known.
    pub entry: Option<Uuid>,
    /// What is wrong.
    pub wrong: Wrong,
}

/// What verifying found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Chains that were looked at.
    pub chains: usize,
    /// Links that were computed anew.
    pub links: i64,
    /// Documents of heads that the chains were held against.
    pub heads: usize,
    /// The first thing that is wrong with each chain; empty: all is well.
    pub findings: Vec<Finding>,
}

/// What to verify.
#[derive(Clone, Copy, Debug)]
pub struct What {
    /// Only this chain.
    pub org: Option<Uuid>,
    /// From this number on; 1: from the start.
    pub from: i64,
}

/// Verifies the chains as they are at this moment, and holds them against `heads`, given from old to new.
///
/// # Errors
/// Postgres.
pub async fn verify(ctx: &Context, what: What, heads: &[Heads]) -> Result<Verified, DbError> {
    let mut tx = ctx.begin(Scope::Batch).await?;
    let mut ends = chain::heads(tx.conn()).await?;
    tx.commit().await?;
    ends.retain(|head| what.org.is_none_or(|org| org == head.org));
    let stretches: VecDeque<(Uuid, i64, i64)> = ends
        .iter()
        .flat_map(|head| {
            let (org, last) = (head.org, head.seq);
            (what.from..=last)
                .step_by(usize::try_from(STRETCH).unwrap_or(1))
                .map(move |from| (org, from, last.min(from + STRETCH - 1)))
        })
        .collect();
    let (links, mut first) = walk(ctx, stretches).await?;
    for finding in slipped_in(ctx, what, first.is_empty()).await? {
        keep_first(&mut first, finding);
    }
    let last: BTreeMap<Uuid, i64> = ends.iter().map(|head| (head.org, head.seq)).collect();
    for finding in against(ctx, what, heads, &last).await? {
        let known = first.entry(finding.org).or_insert_with(|| finding.clone());
        // What the links say is more exact than what a head can say. Only entries whose links were cut off look like inserted ones.
        if known.wrong == Wrong::Inserted && finding.wrong == Wrong::Truncated && finding.seq <= known.seq {
            *known = finding;
        }
    }
    Ok(Verified { chains: ends.len(), links, heads: heads.len(), findings: first.into_values().collect() })
}

fn keep_first(first: &mut BTreeMap<Uuid, Finding>, finding: Finding) {
    let known = first.entry(finding.org).or_insert_with(|| finding.clone());
    if finding.seq < known.seq {
        *known = finding;
    }
}

/// Walks all stretches in lanes. What it says of each chain is the first finding.
async fn walk(ctx: &Context, stretches: VecDeque<(Uuid, i64, i64)>) -> Result<(i64, BTreeMap<Uuid, Finding>), DbError> {
    let stretches = Arc::new(Mutex::new(stretches));
    let mut lanes = tokio::task::JoinSet::new();
    for _ in 0..LANES {
        let (ctx, stretches) = (ctx.clone(), stretches.clone());
        lanes.spawn(async move {
            let (mut links, mut findings) = (0, Vec::new());
            loop {
                let next = stretches.lock().unwrap_or_else(|broken| broken.into_inner()).pop_front();
                let Some((org, from, to)) = next else { return Ok::<_, DbError>((links, findings)) };
                let (walked, finding) = stretch(&ctx, org, from, to).await?;
                links += walked;
                findings.extend(finding);
            }
        });
    }
    let (mut links, mut first) = (0, BTreeMap::new());
    while let Some(lane) = lanes.join_next().await {
        let (walked, findings) = lane.map_err(|broken| DbError::Protocol(broken.to_string()))??;
        links += walked;
        findings.into_iter().for_each(|finding| keep_first(&mut first, finding));
    }
    Ok((links, first))
}

/// Computes the links `from..=to` anew, up to the first that is wrong.
async fn stretch(ctx: &Context, org: Uuid, from: i64, to: i64) -> Result<(i64, Option<Finding>), DbError> {
    let mut tx = ctx.begin(Scope::Batch).await?;
    let wrong = |seq, entry, wrong| Some(Finding { org, seq, entry, wrong });
    let mut before = GENESIS;
    if from > 1 {
        match chain::hash_at(tx.conn(), org, from - 1).await? {
            Some(hash) => before = of(hash)?,
            None => return Ok((0, wrong(from - 1, None, Wrong::Removed))),
        }
    }
    let mut next = from;
    let mut odd: Option<Link> = None;
    {
        let mut links = std::pin::pin!(chain::links(tx.conn(), org, from, to));
        while let Some(link) = links.try_next().await? {
            if link.seq != next {
                break;
            }
            let right = link.entry.as_ref().map(|entry| link::hash(org, next, &before, entry));
            if right.as_ref().map(LinkHash::as_slice) != Some(link.hash.as_slice()) {
                odd = Some(link);
                break;
            }
            before = right.unwrap_or(GENESIS);
            next += 1;
        }
    }
    let walked = next - from;
    if let Some(link) = odd {
        let kind = match &link.entry {
            None => Wrong::Removed,
            Some(_) if another_fits(&mut tx, org, &before, &link).await? => Wrong::Swapped,
            Some(_) => Wrong::Changed,
        };
        return Ok((walked, wrong(next, Some(link.entry_id), kind)));
    }
    Ok((walked, if next <= to { wrong(next, None, Wrong::Removed) } else { None }))
}

/// Whether the entry of a later link fits in the place of this one.
async fn another_fits(tx: &mut crate::store::Tx, org: Uuid, before: &LinkHash, odd: &Link) -> Result<bool, DbError> {
    let mut later = std::pin::pin!(chain::links(tx.conn(), org, odd.seq + 1, odd.seq + LOOK_AHEAD));
    while let Some(link) = later.try_next().await? {
        let Some(entry) = link.entry else { continue };
        // Under its own id, if the links were exchanged; under this one's, if the entries were.
        let here = EntryRow { id: odd.entry_id, ..entry.clone() };
        // The transaction's number may have been left where it was.
        let left = odd.entry.as_ref().map(|own| EntryRow { xid: own.xid, ..here.clone() });
        for candidate in [Some(&entry), Some(&here), left.as_ref()].into_iter().flatten() {
            let hash = link::hash(org, odd.seq, before, candidate);
            if hash.as_slice() == odd.hash || hash.as_slice() == link.hash {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Entries that lie behind the sealer's mark and are in no chain.
async fn slipped_in(ctx: &Context, what: What, all_fits: bool) -> Result<Vec<Finding>, DbError> {
    let mut tx = ctx.begin(Scope::Platform).await?;
    let (entries, links) = chain::counts(tx.conn()).await?;
    // Equal numbers may hide one that was removed beside one that was inserted; then the walk has found something.
    if entries == links && all_fits {
        return Ok(Vec::new());
    }
    let strays = chain::strays(tx.conn(), what.org).await?;
    let mut findings = Vec::new();
    for stray in strays {
        let seq = match stray.before {
            Some(seq) => seq,
            None => chain::heads_of(tx.conn(), &[stray.org]).await?.first().map_or(1, |head| head.seq + 1),
        };
        findings.push(Finding { org: stray.org, seq, entry: Some(stray.entry), wrong: Wrong::Inserted });
    }
    Ok(findings)
}

/// Holds each chain against the heads, from old to new.
async fn against(
    ctx: &Context,
    what: What,
    heads: &[Heads],
    last: &BTreeMap<Uuid, i64>,
) -> Result<Vec<Finding>, DbError> {
    let mut tx = ctx.begin(Scope::Batch).await?;
    let mut good: BTreeMap<Uuid, i64> = BTreeMap::new();
    let mut found: BTreeMap<Uuid, Finding> = BTreeMap::new();
    let known = heads.iter().flat_map(|heads| &heads.chains).filter(|head| what.org.is_none_or(|org| org == head.org));
    for head in known {
        if found.contains_key(&head.org) || good.get(&head.org).is_some_and(|seq| *seq >= head.seq) {
            continue;
        }
        let end = last.get(&head.org).copied().unwrap_or(0);
        let finding = |seq, wrong| Finding { org: head.org, seq, entry: None, wrong };
        match chain::hash_at(tx.conn(), head.org, head.seq).await? {
            Some(hash) if hex(&hash) == head.hash => {
                good.insert(head.org, head.seq);
            }
            Some(_) => {
                let after = good.get(&head.org).copied().unwrap_or(0);
                found.insert(head.org, finding(after + 1, Wrong::Rewritten));
            }
            None => {
                found.insert(head.org, finding(end + 1, Wrong::Truncated));
            }
        }
    }
    Ok(found.into_values().collect())
}

fn of(hash: Vec<u8>) -> Result<LinkHash, DbError> {
    LinkHash::try_from(hash).map_err(|_| DbError::Protocol("a hash has not 32 bytes".into()))
}
