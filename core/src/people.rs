//! People whom an operator adds, so that somebody can sign in before anybody else can.

use serde_json::json;

use crate::ids::{OrgId, PersonId};
use crate::mail::EmailAddress;
use crate::store::audit::{self, Actor, Entry, Role};
use crate::store::people::{self, NewPerson};
use crate::store::{DbError, Tx, organizations};

/// The longest given or family name, in characters.
const MOST_NAME: usize = 100;

/// A person as an operator describes them. No `Debug`: it holds personal data.
pub struct Described {
    /// Whose person.
    pub org: OrgId,
    /// In which role; one of those that people may have.
    pub role: Role,
    /// Given name; may be empty.
    pub given_name: String,
    /// Family name.
    pub family_name: String,
    /// The address, which tells them from others of their role.
    pub email: EmailAddress,
}

/// What became of adding a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// They are new.
    New(PersonId),
    /// The same person was there before; nothing was changed.
    Before(PersonId),
}

/// Why a person is not added. Nothing was changed then. Never holds a name or an address.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// There is no such organization.
    #[error("there is no such organization")]
    NoOrganization,
    /// The family name is missing, or a name is too long or holds control characters.
    #[error("a family name is needed, and names are of up to {MOST_NAME} characters without line breaks")]
    Name,
    /// The address is another's.
    #[error(
        "that address is the one of {id}, who is {role} and has another name, another role in the staff, or is not active"
    )]
    Another {
        /// Whose address it is.
        id: PersonId,
        /// Their role.
        role: String,
    },
    /// Postgres.
    #[error("Postgres: {0}")]
    Db(#[from] DbError),
}

/// Adds a person, with an audit entry that names `by`, in the given transaction. Doing it twice adds one: a person of the same
/// organization, role, address and name is the same person. A patient and one of the staff may share an address, two of the
/// staff may not. Nothing is mailed, and the address does not count as proven.
///
/// # Errors
/// [`AddError`].
pub async fn add(tx: &mut Tx, by: Actor, new: Described) -> Result<Added, AddError> {
    let (given, family) = (new.given_name.trim(), new.family_name.trim());
    let fits = |name: &str| name.chars().count() <= MOST_NAME && !name.chars().any(char::is_control);
    if family.is_empty() || !fits(given) || !fits(family) {
        return Err(AddError::Name);
    }
    // Whoever adds to an organization holds its row, so that two runs at once add one person.
    if !organizations::lock(tx.conn(), new.org).await? {
        return Err(AddError::NoOrganization);
    }
    let staff = new.role != Role::Patient;
    let known = people::with_address(tx.conn(), new.org, new.email.expose(), staff).await?;
    if let Some(known) = known {
        let same =
            known.active && known.role == new.role.as_str() && known.given_name == given && known.family_name == family;
        return if same {
            Ok(Added::Before(known.id))
        } else {
            Err(AddError::Another { id: known.id, role: known.role })
        };
    }
    let (ids, id, now) = (tx.ids(), tx.new_id::<PersonId>(), tx.now());
    let row = NewPerson {
        id,
        org: new.org,
        role: new.role,
        given_name: given,
        family_name: family,
        email: new.email.expose(),
    };
    people::insert(tx.conn(), &row, now).await?;
    let entry = Entry {
        org: Some(new.org),
        actor: by,
        action: "person.added",
        subject_type: "person",
        subject: id.0,
        outcome: "success",
        detail: Some(json!({"role": new.role.as_str()})),
    };
    audit::write(tx.conn(), ids, &[entry], now).await?;
    Ok(Added::New(id))
}
