//! What references may point to, collected before the first record is made.

use std::collections::HashMap;

use super::node::Node;
use super::problem::{Problem, quote};
use super::reference::{Identifier, Kind, Link, ResourceId};

/// The targets of references in one file.
#[derive(Default)]
pub(super) struct Index {
    /// `urn:uuid:…` of Bundle entries.
    urls: HashMap<String, (Kind, ResourceId)>,
    /// Names of `Medication` resources; none where they have no name.
    medications: HashMap<ResourceId, Option<String>>,
    /// The practitioner that a `PractitionerRole` refers to, as written there.
    roles: HashMap<ResourceId, String>,
    /// The server all ids belong to, if the file names one.
    base: Option<String>,
}

/// Where a reference leads.
struct Target {
    kind: Kind,
    link: Link,
}

impl Index {
    /// How many targets are held.
    pub fn len(&self) -> usize {
        self.urls.len() + self.medications.len() + self.roles.len()
    }

    /// Notes the `fullUrl` of an entry.
    pub fn add_url(&mut self, url: &str, kind: Kind, id: &ResourceId) {
        if url.starts_with("urn:") {
            self.urls.insert(url.to_owned(), (kind, id.clone()));
        } else if let Some((base, _, _)) = split_url(url)
            && self.base.is_none()
        {
            self.base = Some(base.to_owned());
        }
    }

    /// Notes the name of a medicine.
    pub fn add_medication(&mut self, id: ResourceId, name: Option<String>) {
        self.medications.insert(id, name);
    }

    /// Notes whom a role belongs to.
    pub fn add_role(&mut self, id: ResourceId, practitioner: &str) {
        self.roles.insert(id, practitioner.to_owned());
    }

    /// Whether a `fullUrl` belongs to another server than the first one of the file.
    pub fn is_foreign(&self, url: &str) -> bool {
        match (split_url(url), &self.base) {
            (Some((base, _, _)), Some(known)) => base != known,
            _ => false,
        }
    }

    /// Follows a `Reference` to one of `wanted`.
    pub fn follow(&self, reference: &Node<'_>, wanted: &[Kind]) -> Result<(Kind, Link), Problem> {
        let problem = |reason: String| reference.problem_at("reference", reason);
        let Some(text) = reference.str("reference")? else {
            return self.logical(reference, wanted);
        };
        let mut target = self.target(text).map_err(problem)?;
        if target.kind == Kind::PractitionerRole && !wanted.contains(&target.kind) {
            target = self.practitioner_of(&target.link).map_err(problem)?;
        }
        if !wanted.contains(&target.kind) {
            return Err(problem(format!("refers to a {}, which cannot stand here", target.kind)));
        }
        Ok((target.kind, target.link))
    }

    /// The name of a `Medication` of the file.
    pub fn medication(&self, reference: &Node<'_>) -> Result<String, Problem> {
        let (_, link) = self.follow(reference, &[Kind::Medication])?;
        let Link::Id(id) = link else {
            return Err(reference.problem("names the medicine only by an identifier"));
        };
        match self.medications.get(&id) {
            Some(Some(name)) => Ok(name.clone()),
            Some(None) => Err(reference.problem(format!("Medication/{id} has no name that people can read"))),
            None => Err(reference.problem(format!(
                "Medication/{id} is not in this file; put the Medication resources into the same file"
            ))),
        }
    }

    /// A reference by identifier alone.
    fn logical(&self, reference: &Node<'_>, wanted: &[Kind]) -> Result<(Kind, Link), Problem> {
        let identifier = match reference.object("identifier")? {
            Some(node) => node.as_identifier()?,
            None => None,
        };
        let Some(identifier) = identifier else {
            return Err(reference.problem("refers to nothing: it has neither a reference nor an identifier"));
        };
        let kind = match reference.str("type")? {
            None => wanted.first().copied().filter(|_| wanted.len() == 1),
            Some(name) => Kind::parse(name).filter(|kind| wanted.contains(kind)),
        };
        let kind = kind.ok_or_else(|| reference.problem_at("type", "must say what the identifier belongs to"))?;
        Ok((kind, Link::Identifier(identifier)))
    }

    fn practitioner_of(&self, role: &Link) -> Result<Target, String> {
        let Link::Id(id) = role else {
            return Err("names a PractitionerRole only by an identifier".to_owned());
        };
        let reference = self.roles.get(id);
        let reference =
            reference.ok_or_else(|| format!("PractitionerRole/{id} is not in this file, or names nobody"))?;
        self.target(reference)
    }

    fn target(&self, text: &str) -> Result<Target, String> {
        if text.starts_with('#') {
            return Err("refers to a contained resource, which has no identity of its own".to_owned());
        }
        if text.starts_with("urn:") {
            let (kind, id) = self.urls.get(text).ok_or("refers to an entry that is not in this file")?;
            return Ok(Target { kind: *kind, link: Link::Id(id.clone()) });
        }
        if let Some((kind, query)) = text.split_once('?') {
            return search(kind, query).ok_or_else(|| {
                "is a search instead of a reference; only Type?identifier=system|value is understood".to_owned()
            });
        }
        let local = match split_url(text) {
            Some((base, _, _)) if self.base.as_ref().is_some_and(|known| base != known) => {
                return Err("refers to another server than the file comes from".to_owned());
            }
            Some((base, _, _)) => &text[base.len() + 1..],
            None => text,
        };
        let local = local.split("/_history/").next().unwrap_or(local);
        let (name, id) = local.split_once('/').ok_or("is no reference such as Patient/123")?;
        let kind = Kind::parse(name).ok_or_else(|| format!("refers to a {}, which cannot stand here", quote(name)))?;
        let id = id.parse().map_err(|error| format!("is no reference: {error}"))?;
        Ok(Target { kind, link: Link::Id(id) })
    }
}

/// `Practitioner?identifier=system|value`.
fn search(kind: &str, query: &str) -> Option<Target> {
    let token = query.strip_prefix("identifier=")?;
    let (system, value) = token.split_once('|')?;
    let plain = |text: &str| !text.contains(['&', '|', ',', '\\', '%']) && !text.chars().any(char::is_control);
    let identifier =
        Identifier { system: Some(system.to_owned()).filter(|system| !system.is_empty()), value: value.to_owned() };
    (plain(system) && plain(value) && !value.is_empty())
        .then_some(Target { kind: Kind::parse(kind)?, link: Link::Identifier(identifier) })
}

/// An absolute URL of a resource as base, type and id.
fn split_url(url: &str) -> Option<(&str, &str, &str)> {
    if !(url.starts_with("https://") || url.starts_with("http://")) {
        return None;
    }
    let current = url.split("/_history/").next().unwrap_or(url);
    let (rest, id) = current.rsplit_once('/')?;
    let (base, kind) = rest.rsplit_once('/')?;
    base.contains("://").then_some((base, kind, id))
}

/// The id that a `fullUrl` gives a resource that has none itself.
pub(super) fn id_from_url(url: &str) -> Option<ResourceId> {
    match url.strip_prefix("urn:uuid:") {
        Some(uuid) => uuid.parse().ok(),
        None => split_url(url)?.2.parse().ok(),
    }
}
