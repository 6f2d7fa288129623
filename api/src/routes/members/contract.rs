//! What the contract says of members.

use pulsecal_core::members::{
    MOST_LANGUAGES, MOST_NAME, MOST_PHONE, MOST_QUALIFICATION, MOST_SPECIALTY, MemberError, NotInvited,
};
use pulsecal_core::store::members::MEMBER_ROLES;
use serde_json::{Value, json};
use utoipa::openapi::Object;

use super::{Invited, ORDERS, Shown};
use crate::contract::examples::{BEFORE, MEMBER, PATIENT};
use crate::contract::{Body, Kind, Operation, kinds};
use crate::paging;
use crate::params::LONGEST;
use crate::problem::Problem;
use crate::routes::patients::LANGUAGE_TAG;

pub(super) fn role() -> Object {
    kinds::one_of(&MEMBER_ROLES)
}

/// The routes.
pub(in crate::routes) fn contract() -> Vec<Operation> {
    let new = Body::new(
        "NewMember",
        json!({"role": "nurse", "given_name": "Jonas", "family_name": "Weber", "email": "jonas.weber@example.org"}),
    )
    .required("role", role(), "What they may do here.")
    .required("given_name", kinds::line(MOST_NAME), "Given name.")
    .required("family_name", kinds::line(MOST_NAME), "Family name.")
    .required("email", kinds::email(), "Their address, which nobody else of the staff has.")
    .set("invite", kinds::flag(), "Invite them by mail to an account; yes when nothing is said.");
    let change = Body::new("MemberChange", json!({"specialty": "Paediatrics", "languages": ["de", "en"]}))
        .set("given_name", kinds::line(MOST_NAME), "Given name.")
        .set("family_name", kinds::line(MOST_NAME), "Family name.")
        .set("email", kinds::email(), "Another address; not where they have an account.");
    let none = |name| Body::new(name, json!({}));
    let taken = || Problem::from(MemberError::AddressTaken(pulsecal_core::ids::PersonId(uuid::Uuid::nil())));
    let stays = || [Problem::from(MemberError::LastAdministrator), Problem::from(MemberError::Visits(3))];
    let not_invited = || {
        [Problem::from(NotInvited::Before), Problem::from(NotInvited::NoAddress), Problem::from(NotInvited::JustNow)]
    };
    vec![
        Operation::new("GET", "/v1/members", "Lists who works for the organization")
            .query("role", role().about("In this role."))
            .query("active", kinds::flag().about("Who works here, or no longer."))
            .query("name", kinds::text(LONGEST).about("A part of the name."))
            .query("sort", paging::sorts(&ORDERS, "By name"))
            .lists::<Shown>("A page of members.", example()),
        Operation::new("POST", "/v1/members", "Adds somebody who works for the organization")
            .detail("They are invited to an account by mail. The link in it works once, for seven days.")
            .body(profile(new))
            .fails([taken()])
            .creates::<Shown>("The member.", example()),
        Operation::new("GET", "/v1/members/{id}", "Shows who works for the organization")
            .shows_version::<Shown>("The member.", example()),
        Operation::new("PATCH", "/v1/members/{id}", "Changes what is said of a member")
            .detail("A field that is left out stays as it is.")
            .if_match()
            .body(profile(change))
            .fails([taken(), Problem::from(MemberError::AddressOfAccount)])
            .shows_version::<Shown>("The member as they are now.", example()),
        Operation::new("POST", "/v1/members/{id}/role", "Gives a member another role")
            .detail(
                "They sign in anew. The last administrator stays one, and a doctor with visits to come stays a doctor.",
            )
            .if_match()
            .body(Body::new("MemberRole", json!({"role": "admin"})).required("role", role(), "The role from now on."))
            .fails(stays())
            .shows_version::<Shown>("The member as they are now.", example()),
        Operation::new("POST", "/v1/members/{id}/invite", "Invites a member to an account")
            .detail("By mail. Earlier invitations lapse.")
            .body_or_none(none("MemberInvitation"))
            .fails(not_invited())
            .shows::<Invited>("That they were invited.", invited()),
        Operation::new("POST", "/v1/members/{id}/leave", "Has a member leave")
            .detail(
                "From the same moment neither sessions nor tokens of theirs are worth anything. Twice changes nothing.",
            )
            .body_or_none(none("MemberLeave"))
            .fails(stays())
            .shows_version::<Shown>("The member as they are now.", example()),
        Operation::new("POST", "/v1/members/{id}/return", "Has a member return")
            .detail("In the role that they had. Their tokens stay worthless. Twice changes nothing.")
            .body_or_none(none("MemberReturn"))
            .shows_version::<Shown>("The member as they are now.", example()),
        Operation::new("POST", "/v1/patients/{id}/invite", "Invites a patient to an account")
            .detail("By mail, which says no more than the organization's name. Earlier invitations lapse.")
            .body_or_none(none("PatientInvitation"))
            .fails(not_invited())
            .shows::<Invited>("That they were invited.", json!({"person_id": PATIENT, "invited_at": BEFORE})),
    ]
}

/// What is said of a member beside name, role and address.
fn profile(body: Body) -> Body {
    let tag = kinds::like(LANGUAGE_TAG, 35, "pt-BR");
    body.optional("phone", kinds::text(MOST_PHONE), "Telephone number.")
        .optional("specialty", kinds::text(MOST_SPECIALTY), "What they are a specialist of.")
        .optional("qualification", kinds::text(MOST_QUALIFICATION), "What they learned.")
        .set("languages", kinds::list(tag, 0..=MOST_LANGUAGES).build(), "The languages that they speak with patients.")
}

fn example() -> Value {
    json!({
        "id": MEMBER, "role": "nurse", "given_name": "Jonas", "family_name": "Weber", "email": "jonas.weber@example.org",
        "phone": null, "specialty": null, "qualification": null, "languages": ["de", "en"], "active": true, "has_account": false,
        "invited_at": BEFORE, "created_at": BEFORE, "updated_at": BEFORE, "version": 1,
    })
}

fn invited() -> Value {
    json!({"person_id": MEMBER, "invited_at": BEFORE})
}
