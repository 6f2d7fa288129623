//! Sealing: entries that can no longer change who comes before them get their link in the chain of their organization.
//!
//! Entries are written plainly, in the transaction of what they record, so no writer waits for another. The sealer takes those
//! of transactions below the snapshot horizon: all of them are committed, and none can come between them any more.

use std::collections::HashMap;

use uuid::Uuid;

use crate::audit::link::{self, GENESIS, LinkHash};
use crate::context::Context;
use crate::store::audit::chain::{self, SealMark, Tail};
use crate::store::{DbError, Scope};

/// So many entries in one transaction at most …
const BATCH: i64 = 20_000;
/// … of at most so many transactions.
const TRANSACTIONS: i64 = 1_000_000;

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// So many entries got their link.
    pub entries: usize,
    /// There are more.
    pub more: bool,
}

/// Seals the next entries. Any number may try at once: one does it.
///
/// # Errors
/// Postgres; nothing was sealed then.
pub async fn seal_round(ctx: &Context) -> Result<Sealed, DbError> {
    let mut tx = ctx.begin(Scope::Batch).await?;
    let now = tx.now();
    if chain::new_era_if_restored(tx.conn()).await? {
        tracing::warn!("audit.era: the database was restored into another cluster; its transactions are numbered on");
        tx.commit().await?;
        return Ok(Sealed { entries: 0, more: true });
    }
    let Some(mark) = chain::take_seal_mark(tx.conn()).await? else { return Ok(Sealed::default()) };
    let horizon = chain::horizon(tx.conn()).await?;
    let until = horizon.min(mark.xid.saturating_add(TRANSACTIONS));
    let entries = chain::unsealed(tx.conn(), mark, until, BATCH).await?;
    let full = i64::try_from(entries.len()).is_ok_and(|count| count == BATCH);
    let next = match entries.last() {
        Some(last) if full => SealMark { xid: last.xid, entry: last.id },
        _ => SealMark { xid: until.max(mark.xid), entry: if until > mark.xid { Uuid::nil() } else { mark.entry } },
    };
    let orgs: Vec<Uuid> = entries.iter().map(|entry| entry.org_id.unwrap_or_default()).collect();
    let mut heads: HashMap<Uuid, (i64, LinkHash)> = HashMap::new();
    let distinct: Vec<Uuid> = orgs.iter().copied().collect::<std::collections::HashSet<_>>().into_iter().collect();
    for head in chain::heads_of(tx.conn(), &distinct).await? {
        let hash = LinkHash::try_from(head.hash).map_err(|_| DbError::Protocol("a hash has not 32 bytes".into()))?;
        heads.insert(head.org, (head.seq, hash));
    }
    let (mut seqs, mut hashes) = (Vec::with_capacity(orgs.len()), Vec::with_capacity(orgs.len()));
    for (org, entry) in orgs.iter().zip(&entries) {
        let head = heads.entry(*org).or_insert((0, GENESIS));
        let seq = head.0 + 1;
        *head = (seq, link::hash(*org, seq, &head.1, entry));
        seqs.push(seq);
        hashes.push(head.1.to_vec());
    }
    if !entries.is_empty() {
        let ids: Vec<Uuid> = entries.iter().map(|entry| entry.id).collect();
        chain::append(tx.conn(), &orgs, &seqs, &ids, &hashes).await?;
    }
    chain::set_seal_mark(tx.conn(), next, now).await?;
    tx.commit().await?;
    Ok(Sealed { entries: entries.len(), more: full || until < horizon })
}

/// Seals all that can be sealed now, and says how much it was.
///
/// # Errors
/// Postgres; what was sealed before stays so.
pub async fn seal_all(ctx: &Context) -> Result<usize, DbError> {
    let mut total = 0;
    loop {
        let round = seal_round(ctx).await?;
        total += round.entries;
        if !round.more {
            return Ok(total);
        }
    }
}

/// What is not sealed yet, also as metrics.
///
/// # Errors
/// Postgres.
pub async fn tail(ctx: &Context) -> Result<Tail, DbError> {
    let mut tx = ctx.begin(Scope::Batch).await?;
    let now = tx.now();
    let tail = chain::tail(tx.conn(), now).await?;
    tx.commit().await?;
    metrics::gauge!("audit_unsealed_entries").set(f64::from(u32::try_from(tail.entries).unwrap_or(u32::MAX)));
    metrics::gauge!("audit_unsealed_oldest_seconds").set(tail.oldest_seconds.max(0.0));
    Ok(tail)
}
